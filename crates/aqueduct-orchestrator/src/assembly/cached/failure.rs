use std::error::Error;
use std::fmt;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_stream::StageError;

/// What an error of the inner stage says, for the items that waited for the same result.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    class: ErrorClass,
    said: Said,
    retry_after: Option<Duration>,
    attempts: u32,
    stops: bool,
}

/// An error and its causes, in words.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    because: Option<Box<Said>>,
}

impl Failure {
    pub(super) fn of(error: &StageError) -> Self {
        Self {
            class: error.class(),
            said: Said::of(error),
            retry_after: error.retry_after(),
            attempts: error.attempts(),
            stops: error.stops(),
        }
    }

    pub(super) fn stops(&self) -> bool {
        self.stops
    }

    /// The error for another item. Its attempts count for it, too: they were made for all.
    pub(super) fn error(&self) -> StageError {
        let mut error = StageError::new(self.class, self.said.text.clone()).with_attempts(self.attempts);
        if let Some(wait) = self.retry_after {
            error = error.with_retry_after(wait);
        }
        match &self.said.because {
            Some(because) => error.with_source(Said::clone(because)),
            None => error,
        }
    }
}

impl Said {
    fn of(error: &dyn Error) -> Self {
        Self { text: error.to_string(), because: error.source().map(|cause| Box::new(Self::of(cause))) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.fmt(f)
    }
}

impl Error for Failure {}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Said {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.because.as_deref().map(|because| because as &(dyn Error + 'static))
    }
}
