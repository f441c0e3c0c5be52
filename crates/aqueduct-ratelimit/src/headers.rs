use std::time::Duration;

use aqueduct_core::Timestamp;
use sfv::{BareItem, FieldType, Item, Key, List, ListEntry, Parameters, Parser};

/// What a service says of its limits in the fields of a response.
///
/// It is read from, and written as, `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10, structured
/// fields of RFC 9651), `X-RateLimit-Limit`, `-Remaining` and `-Reset`, and `Retry-After` (RFC 9110, section 10.2.3). Read
/// are also the names that are in use beside them: `X-Rate-Limit-*`, `RateLimit-Limit` of the drafts up to 6, and
/// `X-RateLimit-Limit-Requests`, `-Tokens` and the like, whose last word becomes the name of the limit.
///
/// A field that is malformed says nothing, as the draft wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// What is allowed.
    pub policies: Vec<Policy>,
    /// What is left of it.
    pub balances: Vec<Balance>,
    /// How long the service asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// A quota that a service announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The name that ties it to its balance; `default` where the service gives none.
    pub name: String,
    /// What may be used in a window.
    pub quota: u64,
    /// How long that is, in whole seconds.
    pub window: Option<Duration>,
    /// What is counted, such as `requests` or `content-bytes`; requests where the service does not say.
    pub unit: Option<String>,
    /// For whom it counts.
    pub partition: Option<Vec<u8>>,
}

/// What is left of a quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// The name of the policy.
    pub name: String,
    /// What may still be used. The draft's field always says; older ones may tell a reset and no more.
    pub remaining: Option<u64>,
    /// When there will be more.
    pub reset_after: Option<Duration>,
    /// For whom it counts.
    pub partition: Option<Vec<u8>>,
}

/// The name of a limit that has none.
const UNNAMED: &str = "default";

/// Where a number of seconds would be a wait of 30 years, it is a date: seconds since 1970. So do GitHub and others.
const EPOCH_FROM: u64 = 1_000_000_000;

impl Announcement {
    /// Reads the fields of a response, in any order; other fields are passed over. `now` is what dates are held against.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Self {
        let mut read = Self::default();
        for (field, value) in fields {
            let field = field.to_ascii_lowercase();
            match field.as_str() {
                "retry-after" => read.retry_after = retry_after(value, now).or(read.retry_after),
                "ratelimit-policy" => read.policies.extend(policies(value)),
                "ratelimit" => read.balances.extend(balances(value)),
                _ => {
                    if let Some((kind, name)) = legacy(&field) {
                        read.take(kind, name, value, now);
                    }
                }
            }
        }
        read
    }

    /// How long to wait before the next request, as far as the service says: what it asked for, or until a balance that
    /// is used up has something again.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let empty = self.balances.iter().filter(|balance| balance.remaining == Some(0));
        self.retry_after.into_iter().chain(empty.filter_map(|balance| balance.reset_after)).max()
    }

    /// Writes the fields of a response: the draft's, those that begin with `X-` for the first balance, and `Retry-After`
    /// where there is a wait. Times are whole seconds, rounded up.
    ///
    /// What a structured field cannot hold, such as a name outside of ASCII, is left out.
    #[must_use]
    pub fn write(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        let policies: List = self.policies.iter().filter_map(Policy::entry).collect();
        let balances: List = self.balances.iter().filter_map(Balance::entry).collect();
        fields.extend(policies.serialize().map(|value| ("RateLimit-Policy", value)));
        fields.extend(balances.serialize().map(|value| ("RateLimit", value)));
        if let Some(balance) = self.balances.first() {
            let policy = self.policies.iter().find(|policy| policy.name == balance.name);
            fields.extend(policy.map(|policy| ("X-RateLimit-Limit", policy.quota.to_string())));
            fields.extend(balance.remaining.map(|left| ("X-RateLimit-Remaining", left.to_string())));
            fields.extend(balance.reset_after.map(|after| ("X-RateLimit-Reset", seconds(after).to_string())));
        }
        fields.extend(self.retry_after.map(|after| ("Retry-After", seconds(after).to_string())));
        fields
    }

    fn take(&mut self, kind: Legacy, name: &str, value: &str, now: Timestamp) {
        match kind {
            Legacy::Limit => {
                // The drafts up to 6 put the policy behind the number: `100, 100;w=60`.
                let first = value.split(',').next().unwrap_or_default();
                let known = self.policies.iter().any(|policy| policy.name == name);
                if let (false, Ok(quota)) = (known, first.trim().parse()) {
                    self.policies.push(Policy { name: name.to_owned(), quota, ..Policy::default() });
                }
            }
            Legacy::Remaining => {
                if let Ok(remaining) = value.trim().parse() {
                    self.balance(name).remaining = Some(remaining);
                }
            }
            Legacy::Reset => {
                if let Some(after) = reset(value.trim(), now) {
                    self.balance(name).reset_after = Some(after);
                }
            }
        }
    }

    /// The balance of this name, made where there is none.
    fn balance(&mut self, name: &str) -> &mut Balance {
        let at = self.balances.iter().position(|balance| balance.name == name).unwrap_or(self.balances.len());
        if at == self.balances.len() {
            self.balances.push(Balance { name: name.to_owned(), ..Balance::default() });
        }
        &mut self.balances[at]
    }
}

/// Reads a `Retry-After`: seconds, or a date in any of the three forms of HTTP. A date that is over is no wait.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Some(seconds) = number(value) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let at = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(since_epoch(now)))
}

fn since_epoch(now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.0).unwrap_or(0))
}

/// Digits alone, as the fields want them: no sign, no point.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Seconds as a field writes them. Rounded up, so that nobody comes back too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[derive(Clone, Copy)]
enum Legacy {
    Limit,
    Remaining,
    Reset,
}

/// What an older field tells, and of which limit: `x-ratelimit-remaining-tokens` tells what remains of `tokens`.
fn legacy(field: &str) -> Option<(Legacy, &str)> {
    let rest = ["x-ratelimit-", "x-rate-limit-", "ratelimit-"]
        .iter()
        .find_map(|prefix| field.strip_prefix(prefix))?;
    let (kind, name) = rest.split_once('-').unwrap_or((rest, UNNAMED));
    let kind = match kind {
        "limit" => Legacy::Limit,
        "remaining" => Legacy::Remaining,
        "reset" => Legacy::Reset,
        _ => return None,
    };
    Some((kind, name))
}

/// Reads a reset: seconds from now, with or without a fraction; seconds since 1970; or parts with units, `6m0s`, `20ms`.
fn reset(value: &str, now: Timestamp) -> Option<Duration> {
    if let Some(seconds) = number(value) {
        let seconds = Duration::from_secs(seconds);
        let date = seconds.as_secs() >= EPOCH_FROM;
        return Some(if date { seconds.saturating_sub(since_epoch(now)) } else { seconds });
    }
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (amount, behind) = rest.split_at(digits);
        let letters = behind.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(amount.parse::<f64>().ok()? * unit).ok()?)?;
        rest = next;
    }
    (!value.is_empty()).then_some(total)
}

// ---- the fields of the draft ----

/// The items of a list whose name is a string; the others, and a field that is no list, say nothing.
fn items(value: &str) -> impl Iterator<Item = (String, Parameters)> {
    let list: List = Parser::new(value).parse().unwrap_or_default();
    list.into_iter().filter_map(|entry| match entry {
        ListEntry::Item(Item { bare_item: BareItem::String(name), params }) => Some((name.into(), params)),
        // Some write the name without quotes, as the drafts before 8 did.
        ListEntry::Item(Item { bare_item: BareItem::Token(name), params }) => Some((name.into(), params)),
        _ => None,
    })
}

fn policies(value: &str) -> impl Iterator<Item = Policy> {
    items(value).filter_map(|(name, params)| {
        let unit = params.get("qu").and_then(BareItem::as_string).map(|unit| unit.as_str().to_owned());
        Some(Policy {
            name,
            quota: whole(&params, "q")?,
            window: whole(&params, "w").map(Duration::from_secs),
            unit,
            partition: partition(&params),
        })
    })
}

fn balances(value: &str) -> impl Iterator<Item = Balance> {
    items(value).filter_map(|(name, params)| {
        Some(Balance {
            name,
            remaining: Some(whole(&params, "r")?),
            reset_after: whole(&params, "t").map(Duration::from_secs),
            partition: partition(&params),
        })
    })
}

fn whole(params: &Parameters, key: &str) -> Option<u64> {
    let number: i64 = params.get(key).and_then(BareItem::as_integer)?.into();
    u64::try_from(number).ok()
}

fn partition(params: &Parameters) -> Option<Vec<u8>> {
    params.get("pk").and_then(BareItem::as_byte_sequence).map(<[u8]>::to_vec)
}

impl Policy {
    fn entry(&self) -> Option<ListEntry> {
        let mut params = Parameters::new();
        params.insert(key("q")?, integer(self.quota)?);
        if let Some(window) = self.window {
            params.insert(key("w")?, integer(seconds(window))?);
        }
        if let Some(unit) = &self.unit {
            params.insert(key("qu")?, string(unit)?);
        }
        if let Some(partition) = &self.partition {
            params.insert(key("pk")?, BareItem::ByteSequence(partition.clone()));
        }
        Some(Item::with_params(string(&self.name)?, params).into())
    }
}

impl Balance {
    fn entry(&self) -> Option<ListEntry> {
        let mut params = Parameters::new();
        params.insert(key("r")?, integer(self.remaining?)?);
        if let Some(after) = self.reset_after {
            params.insert(key("t")?, integer(seconds(after))?);
        }
        if let Some(partition) = &self.partition {
            params.insert(key("pk")?, BareItem::ByteSequence(partition.clone()));
        }
        Some(Item::with_params(string(&self.name)?, params).into())
    }
}

fn key(name: &str) -> Option<Key> {
    Key::from_string(name.to_owned()).ok()
}

fn string(text: &str) -> Option<BareItem> {
    sfv::String::from_string(text.to_owned()).ok().map(BareItem::String)
}

fn integer(number: u64) -> Option<BareItem> {
    sfv::Integer::try_from(number).ok().map(BareItem::Integer)
}
