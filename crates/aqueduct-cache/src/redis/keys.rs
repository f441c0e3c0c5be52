use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::level::Place;

/// What the keys in Redis are called. For the prefix `aqueduct:` and the namespace `users`:
///
/// | key | holds |
/// |---|---|
/// | `aqueduct:{users}:17` | the entry of the key `17` |
/// | `aqueduct:{users}#4e07…` | an entry with a longer key than 512 bytes, under the SHA-256 of that key |
/// | `aqueduct:{users}!` | the invalidations of the namespace |
///
/// In a namespace `{`, `}` and `%` are written as `%7B`, `%7D` and `%25`, so that no two have the same names.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// What a key in Redis stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Entry {
        namespace: Cow<'a, str>,
        key: &'a [u8],
    },
    /// An entry of which only the hash is known.
    Hashed,
    Invalidations {
        namespace: Cow<'a, str>,
    },
}

/// Longer keys are hashed: Redis keeps each key in memory, and sends it to everybody when it changes.
const KEY_BYTES_MAX: usize = 512;

impl Keys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    pub(super) fn entry(&self, place: Place<'_>) -> Vec<u8> {
        if place.key.len() <= KEY_BYTES_MAX {
            return self.key(place.namespace, b':', place.key);
        }
        let hash = Sha256::digest(place.key);
        let hex: Vec<u8> = hash.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect();
        self.key(place.namespace, b'#', &hex)
    }

    pub(super) fn invalidations(&self, namespace: &str) -> Vec<u8> {
        self.key(namespace, b'!', b"")
    }

    /// Says what a key stands for; `None` where it is somebody else's.
    pub(super) fn read<'a>(&self, key: &'a [u8]) -> Option<Named<'a>> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"{")?;
        let end = rest.iter().position(|&byte| byte == b'}')?;
        let namespace = unescape(std::str::from_utf8(&rest[..end]).ok()?)?;
        match rest[end + 1..].split_first()? {
            (b':', key) => Some(Named::Entry { namespace, key }),
            (b'#', _) => Some(Named::Hashed),
            (b'!', []) => Some(Named::Invalidations { namespace }),
            _ => None,
        }
    }

    fn key(&self, namespace: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + namespace.len() + rest.len() + 3);
        key.extend_from_slice(self.prefix.as_bytes());
        key.push(b'{');
        for &byte in namespace.as_bytes() {
            match byte {
                b'{' => key.extend_from_slice(b"%7B"),
                b'}' => key.extend_from_slice(b"%7D"),
                b'%' => key.extend_from_slice(b"%25"),
                _ => key.push(byte),
            }
        }
        key.extend_from_slice(&[b'}', kind]);
        key.extend_from_slice(rest);
        key
    }
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    let mut parts = text.split('%');
    let first = parts.next()?;
    if first.len() == text.len() {
        return Some(Cow::Borrowed(text));
    }
    let mut namespace = first.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        namespace.push(match code {
            "7B" => '{',
            "7D" => '}',
            "25" => '%',
            _ => return None,
        });
        namespace.push_str(rest);
    }
    Some(Cow::Owned(namespace))
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

#[cfg(test)]
mod tests;
