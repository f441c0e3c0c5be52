#![cfg(feature = "headers")]

use std::time::Duration;

use aqueduct_core::Timestamp;
use aqueduct_ratelimit::{Announcement, Balance, Policy, retry_after};

/// 2026-11-21 00:00:00 UTC.
const NOW: Timestamp = Timestamp(1_795_219_200_000);

fn read(fields: &[(&str, &str)]) -> Announcement {
    Announcement::read(fields.iter().copied(), NOW)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn the_fields_of_the_draft_are_read() {
    let said = read(&[
        (
            "RateLimit-Policy",
            "\"burst\";q=100;w=60,\"daily\";q=1000;w=86400;qu=\"content-bytes\";pk=:cHNkZg==:",
        ),
        ("ratelimit", "\"burst\";r=50;t=30, \"daily\";r=0"),
        ("content-type", "text/plain"),
    ]);
    assert_eq!(
        said.policies,
        [
            Policy { name: "burst".to_owned(), quota: 100, window: seconds(60), ..Policy::default() },
            Policy {
                name: "daily".to_owned(),
                quota: 1_000,
                window: seconds(86_400),
                unit: Some("content-bytes".to_owned()),
                partition: Some(b"psdf".to_vec()),
            },
        ]
    );
    assert_eq!(
        said.balances,
        [
            Balance {
                name: "burst".to_owned(),
                remaining: Some(50),
                reset_after: seconds(30),
                partition: None
            },
            Balance { name: "daily".to_owned(), remaining: Some(0), ..Balance::default() },
        ]
    );
    assert_eq!(said.wait(), None, "the balance that is used up does not say until when");
}

#[test]
fn what_is_written_is_read_the_same() {
    let said = Announcement {
        policies: vec![Policy {
            name: "requests".to_owned(),
            quota: 60,
            window: seconds(60),
            unit: Some("requests".to_owned()),
            partition: Some(vec![0, 255]),
        }],
        balances: vec![Balance {
            name: "requests".to_owned(),
            remaining: Some(0),
            reset_after: seconds(7),
            partition: Some(vec![0, 255]),
        }],
        retry_after: seconds(7),
    };
    let written = said.write();
    assert_eq!(
        written,
        [
            ("RateLimit-Policy", "\"requests\";q=60;w=60;qu=\"requests\";pk=:AP8=:".to_owned()),
            ("RateLimit", "\"requests\";r=0;t=7;pk=:AP8=:".to_owned()),
            ("X-RateLimit-Limit", "60".to_owned()),
            ("X-RateLimit-Remaining", "0".to_owned()),
            ("X-RateLimit-Reset", "7".to_owned()),
            ("Retry-After", "7".to_owned()),
        ]
    );
    let structured: Vec<_> = written
        .iter()
        .filter(|(name, _)| !name.starts_with("X-"))
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(read(&structured), said);
}

#[test]
fn times_are_rounded_up_so_that_nobody_comes_back_too_early() {
    let said = Announcement { retry_after: Some(Duration::from_millis(1_001)), ..Announcement::default() };
    assert_eq!(said.write(), [("Retry-After", "2".to_owned())]);
}

#[test]
fn older_fields_are_read_by_their_many_names() {
    let epoch = (NOW.0 / 1_000 + 90).to_string();
    for (fields, wanted) in [
        // GitHub: seconds since 1970.
        (
            vec![
                ("X-RateLimit-Limit", "5000"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", epoch.as_str()),
            ],
            90,
        ),
        // The drafts up to 6: seconds, and a policy behind the limit.
        (vec![("RateLimit-Limit", "10, 10;w=1"), ("RateLimit-Remaining", "0"), ("RateLimit-Reset", "4")], 4),
        (vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "12")], 12),
        // OpenAI: a limit for requests and one for tokens, with units.
        (
            vec![
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            360,
        ),
    ] {
        assert_eq!(read(&fields).wait(), seconds(wanted), "{fields:?}");
    }
    assert_eq!(
        read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20ms")]).wait(),
        Some(Duration::from_millis(20))
    );
    assert_eq!(read(&[("x-ratelimit-limit-tokens", "150000")]).policies[0].name, "tokens");
}

#[test]
fn a_wait_is_told_in_seconds_or_as_a_date() {
    // The three forms of RFC 9110, section 5.6.7; the third has no zone and is UTC all the same.
    for (value, wanted) in [
        ("120", seconds(120)),
        (" 0 ", seconds(0)),
        ("Sat, 21 Nov 2026 00:01:00 GMT", seconds(60)),
        ("Saturday, 21-Nov-26 00:01:00 GMT", seconds(60)),
        ("Sat Nov 21 00:01:00 2026", seconds(60)),
        ("Fri, 20 Nov 2026 00:00:00 GMT", seconds(0)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("99999999999999999999999", None),
    ] {
        assert_eq!(retry_after(value, NOW), wanted, "{value:?}");
    }
}

#[test]
fn a_malformed_field_says_nothing_and_the_others_are_read() {
    for bad in [
        "",
        ";",
        "\"a",
        "\"a\";r=",
        "\"a\";r=-1",
        "\"a\";r=\"b\"",
        "(\"a\");r=1",
        "5",
        "\u{7f}",
        "\"a\";r=99999999999999999",
    ] {
        let said = read(&[("RateLimit", bad), ("RateLimit-Policy", bad), ("Retry-After", "3")]);
        assert_eq!(said, Announcement { retry_after: seconds(3), ..Announcement::default() }, "{bad:?}");
    }
    for bad in ["", "-", "1x", "x", "1e400s", "9999999999999999999999s", "NaN", "inf", "-5"] {
        assert_eq!(read(&[("x-ratelimit-reset", bad)]).balances, [], "{bad:?}");
    }
}

#[test]
fn what_a_structured_field_cannot_hold_is_left_out() {
    let said = Announcement {
        balances: vec![Balance { name: "é".to_owned(), remaining: Some(1), ..Balance::default() }],
        ..Announcement::default()
    };
    assert_eq!(said.write(), [("X-RateLimit-Remaining", "1".to_owned())]);
}
