/// Which calls share something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them.
    Shared,
    /// Those with the same key. Calls without a key share one.
    PerKey,
}
