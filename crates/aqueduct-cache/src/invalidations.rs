use std::collections::{BTreeSet, HashMap};

use crate::error::PatternError;

/// What was invalidated in one namespace, and when: in which edition.
///
/// The edition of a namespace is the number of its last invalidation. An entry carries the edition in which its
/// value began to be loaded, and is invalid where it is within the scope of a later one. So an invalidation costs the
/// same whatever it covers, and what it covers leaves when somebody looks for it, or by itself.
///
/// At most [`SCOPES_MAX`](Self::SCOPES_MAX) scopes are remembered; with more, the older half of them becomes an
/// invalidation of everything as old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidations {
    /// Drawn by the level when it began to remember; another one says that it has forgotten. 0: it remembers nothing yet.
    pub origin: u64,
    edition: u64,
    all: u64,
    tags: HashMap<Box<str>, u64>,
    prefixes: HashMap<Box<[u8]>, u64>,
    /// The lengths of the prefixes, so that a key is looked up once for each of them and not compared with every one.
    lengths: BTreeSet<usize>,
}

/// What an invalidation covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole namespace.
    All,
    /// What carries a tag.
    Tag(Box<str>),
    /// The keys that begin so.
    Prefix(Box<[u8]>),
}

impl Scope {
    /// What a pattern covers: everything for `*`, the keys that begin so for `aeo:*`; `None` for one that is a key.
    pub(crate) fn matching(pattern: &str) -> Result<Option<Self>, PatternError> {
        match pattern.split_once('*') {
            None => Ok(None),
            Some(("", "")) => Ok(Some(Self::All)),
            Some((prefix, "")) => Ok(Some(Self::Prefix(prefix.as_bytes().into()))),
            Some(_) => Err(PatternError { pattern: pattern.to_owned() }),
        }
    }

    /// Tells whether an entry is within it.
    pub(crate) fn covers<'a>(&self, key: &[u8], mut tags: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::All => true,
            Self::Tag(tag) => tags.any(|other| *other == **tag),
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }

    /// Writes it as bytes, for a level to store; [`decode`](Self::decode) reads them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text): (u8, &[u8]) = match self {
            Self::All => (b'*', b""),
            Self::Tag(tag) => (b'#', tag.as_bytes()),
            Self::Prefix(prefix) => (b'^', prefix),
        };
        [&[kind], text].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'*', []) => Some(Self::All),
            (b'#', tag) => Some(Self::Tag(std::str::from_utf8(tag).ok()?.into())),
            (b'^', prefix) => Some(Self::Prefix(prefix.into())),
            _ => None,
        }
    }
}

impl Invalidations {
    /// How many scopes are remembered at most.
    pub const SCOPES_MAX: usize = 10_000;

    /// The edition of now.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Gives the scopes and the editions they were invalidated in, for a level to store.
    pub fn scopes(&self) -> impl Iterator<Item = (Scope, u64)> {
        let all = (self.all > 0).then_some((Scope::All, self.all));
        let tags = self.tags.iter().map(|(tag, &edition)| (Scope::Tag(tag.clone()), edition));
        let prefixes =
            self.prefixes.iter().map(|(prefix, &edition)| (Scope::Prefix(prefix.clone()), edition));
        all.into_iter().chain(tags).chain(prefixes)
    }

    /// Writes down that a scope was invalidated in an edition; `false` where that, or a later one, was known.
    pub fn add(&mut self, scope: Scope, edition: u64) -> bool {
        self.edition = self.edition.max(edition);
        let known = match scope {
            _ if edition <= self.all => return false,
            Scope::All => {
                self.forget_until(edition);
                return true;
            }
            Scope::Tag(tag) => self.tags.entry(tag).or_default(),
            Scope::Prefix(prefix) => {
                self.lengths.insert(prefix.len());
                self.prefixes.entry(prefix).or_default()
            }
        };
        if edition <= *known {
            return false;
        }
        *known = edition;
        if self.tags.len() + self.prefixes.len() > Self::SCOPES_MAX {
            let mut editions: Vec<u64> = self.tags.values().chain(self.prefixes.values()).copied().collect();
            let middle = editions.len() / 2;
            let (_, &mut middle, _) = editions.select_nth_unstable(middle);
            self.forget_until(middle);
        }
        true
    }

    /// Adds what another level knows.
    pub fn merge(&mut self, other: &Self) {
        for (scope, edition) in other.scopes() {
            self.add(scope, edition);
        }
        self.edition = self.edition.max(other.edition);
    }

    /// Tells whether an entry of an edition is still valid. O(1) without an invalidation since; otherwise a look for each
    /// tag, and one for each length that invalid prefixes have.
    #[must_use]
    pub fn is_valid<'a>(&self, edition: u64, key: &[u8], tags: impl IntoIterator<Item = &'a str>) -> bool {
        if edition >= self.edition {
            return true;
        }
        edition >= self.all
            && tags.into_iter().all(|tag| self.tags.get(tag).is_none_or(|&since| edition >= since))
            && self
                .lengths
                .range(..=key.len())
                .all(|&length| self.prefixes.get(&key[..length]).is_none_or(|&since| edition >= since))
    }

    /// Makes one invalidation of everything out of those up to an edition.
    fn forget_until(&mut self, edition: u64) {
        self.all = self.all.max(edition);
        self.tags.retain(|_, since| *since > self.all);
        self.prefixes.retain(|_, since| *since > self.all);
        self.lengths = self.prefixes.keys().map(|prefix| prefix.len()).collect();
    }
}
