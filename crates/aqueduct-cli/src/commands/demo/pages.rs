//! A folder whose files are pages.

use std::io;
use std::path::Path;

use aqueduct_testkit::backend::Page;

/// Enough for every page of an example, and little enough to be held.
const PAGES_BYTES_MAX: u64 = 100_000_000;

/// A folder of pages that cannot be shown.
#[derive(Debug)]
pub(in crate::commands) struct PagesError {
    what: String,
    source: Option<io::Error>,
}

impl std::fmt::Display for PagesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for PagesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// The files of a folder, without those of its folders.
pub(in crate::commands) fn read(folder: &Path) -> Result<Vec<(String, Page)>, PagesError> {
    let failed = |path: &Path| {
        let what = format!("{} cannot be read", path.display());
        move |source| PagesError { what, source: Some(source) }
    };
    let (mut pages, mut bytes) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let file = std::fs::metadata(&path).map_err(failed(&path))?;
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| file.is_file()) else {
            continue;
        };
        bytes += file.len();
        if bytes > PAGES_BYTES_MAX {
            let what = format!("{} holds more than {PAGES_BYTES_MAX} bytes of pages", folder.display());
            return Err(PagesError { what, source: None });
        }
        pages.push((name.to_owned(), Page::new(std::fs::read(&path).map_err(failed(&path))?)));
    }
    Ok(pages)
}
