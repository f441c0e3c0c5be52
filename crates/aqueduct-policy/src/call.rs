use std::borrow::Cow;

use aqueduct_retry::Deadline;

/// A request, and what the block needs to know of it.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until a backend makes it"]
pub struct Call<Req> {
    pub(crate) request: Req,
    pub(crate) key: Cow<'static, str>,
    pub(crate) tenant: Cow<'static, str>,
    pub(crate) cost: u64,
    pub(crate) repeatable: bool,
    pub(crate) deadline: Deadline,
}

impl<Req> Call<Req> {
    /// A call without a key and a tenant, of one token, that may be made more than once.
    pub fn new(request: Req) -> Self {
        Self {
            request,
            key: Cow::Borrowed(""),
            tenant: Cow::Borrowed(""),
            cost: 1,
            repeatable: true,
            deadline: Deadline::NEVER,
        }
    }

    /// Says what fails and is limited by itself: a host, a model. Circuits and limits per key go by it, and hash strategies
    /// of the balancer.
    pub fn key(self, key: impl Into<Cow<'static, str>>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Says on whose behalf it is made: tenants take turns where calls wait.
    pub fn tenant(self, tenant: impl Into<Cow<'static, str>>) -> Self {
        Self { tenant: tenant.into(), ..self }
    }

    /// Sets how many tokens of the rate limits each attempt takes. Default 1.
    pub fn cost(self, cost: u64) -> Self {
        Self { cost, ..self }
    }

    /// Says whether making it twice does no harm. Default true. One that is not is neither retried nor hedged nor cached.
    pub fn repeatable(self, repeatable: bool) -> Self {
        Self { repeatable, ..self }
    }

    /// Ends it by this moment of the policy's clock, if that is earlier than the deadline of the policy.
    pub fn deadline(self, deadline: Deadline) -> Self {
        Self { deadline, ..self }
    }
}

/// Why an attempt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    First,
    Retry,
    Hedge,
}
