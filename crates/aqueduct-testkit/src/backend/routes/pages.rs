use hyper::StatusCode;

use super::Asked;
use super::query::decoded;
use crate::backend::answer::{Answer, Content, HTML};
use crate::backend::script::Page;

/// The page that a path ends with, if there is one.
pub(super) fn named<'a>(asked: &Asked<'a>, path: &str) -> Option<&'a Page> {
    asked.script.pages.get(&decoded(last(path)))
}

/// What is behind the last slash.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A page of the table.
pub(super) fn page(asked: &Asked<'_>, name: &str) -> Answer {
    match asked.script.pages.get(&decoded(name)) {
        Some(page) => Answer::new(StatusCode::OK, HTML, Content::Shared(page.html.clone())),
        None => Answer::error(StatusCode::NOT_FOUND, "there is no page of this name"),
    }
}
