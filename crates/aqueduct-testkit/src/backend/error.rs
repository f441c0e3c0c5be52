use std::io;
use std::net::SocketAddr;

use aqueduct_core::{Classified, ConfigError, ErrorClass};

/// Why a backend could not be started. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on: somebody else does, or it is not allowed. Take another port, or 0.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The script and what runs do not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Classified for StartError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Listen { .. } => ErrorClass::Permanent,
            Self::Config(error) => error.class(),
        }
    }
}
