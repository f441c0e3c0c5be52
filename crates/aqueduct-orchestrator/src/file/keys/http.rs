//! The keys of the source, the stage and the sink `http`, and of the stage `budget`.

use super::{Absent, KEEP, Key, Kind, SET, Section, key};
use crate::settings::defaults;

pub(in crate::file) const CALLS: Key = key(
    "backend",
    Kind::Name,
    Absent::Words("one of its own, with every default"),
    "the `[[backend]]` that is called; stages with the same one share its quota, circuits and connections",
);
pub(in crate::file) const METHOD: Key = key(
    "method",
    Kind::Choice(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    Absent::Words("`POST` with a body, else `GET`"),
    "the method",
);
pub(in crate::file) const URL: Key = key(
    "url",
    Kind::Text,
    Absent::Words("`url_from` is needed"),
    "where the call goes. `{item.id}` is a place that the item fills, with any expression: in the path and behind `?` \
     only, and percent-encoded, so that data never names a host. With `endpoints` it begins with `/`",
);
pub(in crate::file) const URL_FROM: Key = key(
    "url_from",
    Kind::Expression,
    Absent::Words("`url` is needed"),
    "an expression that gives the whole URL, for items that are URLs. What an item may name is bounded by \
     `allow_private` alone",
);
pub(in crate::file) const HEADERS: Key = key(
    "headers",
    Kind::Texts,
    Absent::Words("none but those of every call"),
    "header fields; their values may have places as `url` has",
);
pub(in crate::file) const BODY: Key = key(
    "body",
    Kind::Expression,
    Absent::Words("no body"),
    "an expression that gives what is sent: a text as it is, an object or a list as JSON",
);
pub(in crate::file) const INTO: Key = key(
    "into",
    Kind::Field,
    Absent::Text("response"),
    "the field that holds the answer for the expressions of `set`, and for good where there is no `set`: an object with \
     `status`, `url`, `headers` and `body`, which is JSON where the answer says so, else a text",
);
pub(in crate::file) const SUCCESS: Key = key(
    "success",
    Kind::List,
    Absent::Words("`2xx`"),
    "the statuses that are answers: `404`, `200-299`, `2xx`",
);
pub(in crate::file) const RETRY_ON: Key = key(
    "retry_on",
    Kind::List,
    Absent::Words("`429`, `500`, `502`, `503`, `504`"),
    "the statuses for which the call is made again; any other one fails for good",
);
pub(in crate::file) const IDEMPOTENCY_KEY: Key = key(
    "idempotency_key",
    Kind::Boolean,
    Absent::Words("true, but not for `GET` and `HEAD`"),
    "sends the header field Idempotency-Key: pipeline, stage and item, the same however often the call is made",
);
pub(in crate::file) const REPEATABLE: Key = key(
    "repeatable",
    Kind::Boolean,
    Absent::Text("true"),
    "false: a call that may have been carried out is never made again",
);
pub(in crate::file) const JOURNAL: Key = key(
    "journal",
    Kind::Boolean,
    Absent::Text("false"),
    "keeps every answer, durably, until its item is committed: a call that was answered is never paid for twice",
);
pub(in crate::file) const DRAW: Key = key(
    "draw",
    Kind::Name,
    Absent::Words("no budget"),
    "the allowance of `[budget]` that each item draws on; when it is used up the run ends, with everything committed",
);
pub(in crate::file) const TENANT: Key = key(
    "tenant",
    Kind::Expression,
    Absent::Words("all items alike"),
    "an expression; calls for which it differs take turns, so that many items of one do not hold up another's",
);
pub(in crate::file) const HTTP_IN_FLIGHT: Key = key(
    "in_flight",
    Kind::Integer(1, 100_000),
    Absent::Integer(defaults::HTTP_IN_FLIGHT),
    "the most items that it works on at once, those that wait included; more than `calls_max` of the backend, so that \
     one slow host does not hold up the others",
);

pub(in crate::file) const HTTP: Section = Section {
    heading: "[[stage]]",
    of_type: Some("http"),
    keys: &[
        CALLS,
        METHOD,
        URL,
        URL_FROM,
        HEADERS,
        BODY,
        SUCCESS,
        RETRY_ON,
        INTO,
        KEEP,
        SET,
        IDEMPOTENCY_KEY,
        REPEATABLE,
        JOURNAL,
        DRAW,
        TENANT,
        HTTP_IN_FLIGHT,
    ],
};

pub(in crate::file) const PAGES_URL: Key = key(
    "url",
    Kind::Text,
    Absent::Required,
    "where the list is; with `endpoints` of the backend it begins with `/`",
);
pub(in crate::file) const PLAIN_HEADERS: Key =
    key("headers", Kind::Texts, Absent::Words("none but those of every call"), "header fields of each call");
pub(in crate::file) const PAGE_ITEMS: Key = key(
    "items",
    Kind::Expression,
    Absent::Words("`item.response.body`"),
    "an expression that gives the list of items of a page; `item.response` is the answer, with `status`, `url`, `headers` \
     and `body`",
);
pub(in crate::file) const PAGING: Key = key(
    "paging",
    Kind::Choice(&["none", "offset", "cursor", "link"]),
    Absent::Text("none"),
    "none: there is one page; offset: pages are asked for by the number of their first item, until one is empty; cursor: \
     each page says which is next, as `next` reads it; link: it does so in its header field Link",
);
pub(in crate::file) const OFFSET_PARAMETER: Key = key(
    "offset_parameter",
    Kind::Text,
    Absent::Text("offset"),
    "what the number of the first item is called in the URL",
);
pub(in crate::file) const LIMIT_PARAMETER: Key =
    key("limit_parameter", Kind::Text, Absent::Text("limit"), "what the size of a page is called in the URL");
pub(in crate::file) const PAGE_SIZE: Key = key(
    "page_size",
    Kind::Integer(1, 100_000),
    Absent::Integer(defaults::PAGE_SIZE),
    "how many items a page is asked to have, with `paging = \"offset\"`; one page is in memory at a time",
);
pub(in crate::file) const CURSOR_PARAMETER: Key =
    key("cursor_parameter", Kind::Text, Absent::Text("cursor"), "what the cursor is called in the URL");
pub(in crate::file) const NEXT_CURSOR: Key = key(
    "next",
    Kind::Expression,
    Absent::Words("`item.response.body.next`"),
    "an expression that gives the cursor of the next page; without the field, or where it is null or empty, the page is \
     the last",
);

pub(in crate::file) const HTTP_SOURCE: Section = Section {
    heading: "[source]",
    of_type: Some("http"),
    keys: &[
        CALLS,
        PAGES_URL,
        PLAIN_HEADERS,
        PAGE_ITEMS,
        PAGING,
        OFFSET_PARAMETER,
        LIMIT_PARAMETER,
        PAGE_SIZE,
        CURSOR_PARAMETER,
        NEXT_CURSOR,
        SUCCESS,
        RETRY_ON,
    ],
};

pub(in crate::file) const SINK_URL: Key = key(
    "url",
    Kind::Text,
    Absent::Required,
    "where results are sent; with `endpoints` of the backend it begins with `/`",
);
pub(in crate::file) const SINK_METHOD: Key =
    key("method", Kind::Choice(&["POST", "PUT", "PATCH"]), Absent::Text("POST"), "the method");
pub(in crate::file) const SINK_BATCH: Key = key(
    "batch_items",
    Kind::Integer(1, 100_000),
    Absent::Words("`BATCH_SIZE`, else 100"),
    "the most results in one call. With 1 each has an Idempotency-Key of its own, the same when it is sent again after a \
     crash",
);
pub(in crate::file) const SINK_FORMAT: Key = key(
    "format",
    Kind::Choice(&["json", "jsonl"]),
    Absent::Text("json"),
    "json: a list, or the result itself with `batch_items = 1`; jsonl: one JSON object a line",
);

pub(in crate::file) const HTTP_SINK: Section = Section {
    heading: "[[sink]]",
    of_type: Some("http"),
    keys: &[CALLS, SINK_URL, SINK_METHOD, PLAIN_HEADERS, SINK_BATCH, SINK_FORMAT, SUCCESS, RETRY_ON],
};

pub(in crate::file) const BUDGET_DRAW: Key = key(
    "draw",
    Kind::Name,
    Absent::Required,
    "the allowance of `[budget]` that each item draws on; when it is used up the run ends, with everything committed",
);
pub(in crate::file) const COST: Key = key(
    "cost",
    Kind::Expression,
    Absent::Words("1"),
    "an expression that gives how much an item draws, an integer of at least 0",
);

pub(in crate::file) const BUDGET_STAGE: Section =
    Section { heading: "[[stage]]", of_type: Some("budget"), keys: &[BUDGET_DRAW, COST] };
