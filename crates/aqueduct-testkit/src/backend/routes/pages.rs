use hyper::StatusCode;

use super::Asked;
use super::query::decoded;
use crate::backend::answer::{Answer, Content, HTML};

/// A page of the table.
pub(super) fn page(asked: &Asked<'_>, name: &str) -> Answer {
    match asked.script.pages.get(&decoded(name)) {
        Some(page) => Answer::new(StatusCode::OK, HTML, Content::Shared(page.html.clone())),
        None => Answer::error(StatusCode::NOT_FOUND, "there is no page of this name"),
    }
}
