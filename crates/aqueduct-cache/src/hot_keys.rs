use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

/// Keys in the order of their popularity, as a file keeps them from one run to the next.
///
/// A line is a JSON string, or an array of numbers for a key that is no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotKeys(Vec<Box<[u8]>>);

impl HotKeys {
    /// Keys, the most popular one first, as [`Namespace::hottest`](crate::Namespace::hottest) gives them.
    #[must_use]
    pub fn new(keys: Vec<Box<[u8]>>) -> Self {
        Self(keys)
    }

    /// Writes the file, in the place of the one that is there: all of it or nothing. Waits for the disk.
    ///
    /// # Errors
    ///
    /// What the system says; the old file is as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let mut text = Vec::new();
        for key in &self.0 {
            let line = std::str::from_utf8(key).map_or_else(|_| Value::from(key.to_vec()), Value::from);
            writeln!(text, "{line}")?;
        }
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }

    /// Reads a file. What is no key in it is left out: a warmer cache is not worth an error. Waits for the disk.
    ///
    /// # Errors
    ///
    /// What the system says; that there is no file yet is an empty list.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(Self(text.split(|&byte| byte == b'\n').filter_map(key).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}

fn key(line: &[u8]) -> Option<Box<[u8]>> {
    match serde_json::from_slice(line).ok()? {
        Value::String(text) => Some(text.into_bytes().into()),
        bytes @ Value::Array(_) => serde_json::from_value::<Vec<u8>>(bytes).ok().map(Into::into),
        _ => None,
    }
}

impl IntoIterator for HotKeys {
    type Item = Box<[u8]>;
    type IntoIter = std::vec::IntoIter<Box<[u8]>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
