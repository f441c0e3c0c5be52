//! What a level stores, as bytes.

use std::time::Duration;

use aqueduct_cache::Stored;
use aqueduct_core::Timestamp;
use bytes::Bytes;
use proptest::prelude::*;

/// In one text all that a header can say.
const WHOLE: &str =
    "aqueduct1 at=1763740800000 fresh=30000 held=3600000 edition=7 session=2 tag=8:projects tag=3:b-2\n{}";

fn whole() -> Stored {
    Stored {
        value: Some("{}".into()),
        at: Timestamp(1_763_740_800_000),
        fresh: Some(Duration::from_secs(30)),
        held: Some(Duration::from_hours(1)),
        edition: 7,
        session: 2,
        tags: vec!["projects".into(), "b-2".into()],
    }
}

fn decode(bytes: impl Into<Vec<u8>>) -> Option<Stored> {
    Stored::decode(Bytes::from(bytes.into()))
}

fn any_stored() -> impl Strategy<Value = Stored> {
    let number = || prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..20_u64];
    let duration = move || prop::option::of(number().prop_map(Duration::from_millis));
    let at = prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), -20..20_i64];
    let tags = prop::collection::vec("[a-c=:\n 1äß]{0,12}".prop_map(String::into_boxed_str), 0..4);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    (value, at, duration(), duration(), number(), number(), tags).prop_map(
        |(value, at, fresh, held, edition, session, tags)| Stored {
            value,
            at: Timestamp(at),
            fresh,
            held,
            edition,
            session,
            tags,
        },
    )
}

#[test]
fn a_person_can_read_it() {
    assert_eq!(whole().encode(), WHOLE.as_bytes());
    assert_eq!(decode(WHOLE), Some(whole()));
    assert_eq!(Stored::default().encode(), b"aqueduct1 at=0 absent\n");
    let empty = Stored { value: Some("".into()), ..Stored::default() };
    assert_eq!(empty.encode(), b"aqueduct1 at=0\n");
    assert_eq!(decode("aqueduct1 at=0\n"), Some(empty));
}

#[test]
fn the_value_is_not_copied() {
    let bytes = Bytes::from(WHOLE);
    let end = bytes.as_ptr_range().end;
    let value = Stored::decode(bytes).and_then(|stored| stored.value).expect("it is whole");
    assert_eq!(value.as_ptr_range().end, end);
}

#[test]
fn what_is_written_otherwise_is_missing() {
    for (part, other) in [
        ("aqueduct1", "aqueduct2"),
        ("aqueduct1", "aqueduct11"),
        ("aqueduct1 ", ""),
        (" at=1763740800000", ""),
        ("at=1763740800000", "at="),
        ("at=1763740800000", "at=+1763740800000"),
        ("at=1763740800000", "at=-0"),
        ("at=1763740800000", "at=9223372036854775808"),
        ("at=1763740800000", "at=-9223372036854775809"),
        ("at=1763740800000", "at=1763740800000.0"),
        ("fresh=30000", "fresh=030000"),
        ("fresh=30000", "fresh=-30000"),
        ("fresh=30000", "fresh=18446744073709551616"),
        ("fresh=30000", "fresh=3e4"),
        (" fresh=30000", " fresh=30000 fresh=30000"),
        (" fresh=30000 held=3600000", " held=3600000 fresh=30000"),
        (" held", "  held"),
        (" held=3600000", " idle=3600000"),
        ("edition=7", "edition=0"),
        ("session=2", "session=0"),
        ("8:projects", "9:projects"),
        ("8:projects", "7:projects"),
        ("3:b-2", "99:b-2"),
        ("3:b-2", "18446744073709551615:b-2"),
        ("3:b-2", "3"),
        ("\n", " absent\n"),
        ("\n", "\r\n"),
        ("\n", " \n"),
        ("\n{}", ""),
    ] {
        let text = WHOLE.replacen(part, other, 1);
        assert_ne!(text, WHOLE, "{part} is there");
        assert_eq!(decode(text), None, "{part} as {other}");
    }
    for text in ["", "\n", "{}", "{\"at\":1763740800000}\n{}"] {
        assert_eq!(decode(text), None, "{text}");
    }
    let no_text = [b"aqueduct1 at=0 tag=2:", &[0xc3, 0x28][..], b"\n"].concat();
    assert_eq!(decode(no_text), None);
}

proptest! {
    // Only a few of the changes hit the first digit of a number.
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_written_is_read(stored in any_stored()) {
        prop_assert_eq!(decode(stored.encode()), Some(stored));
    }

    /// Nothing that is read could have meant something else.
    #[test]
    fn what_is_read_is_what_would_be_written(
        stored in any_stored(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, "[ :0-]"), 1..3),
    ) {
        let mut bytes = stored.encode();
        for (at, change, with) in changes {
            let (at, with) = (at.index(bytes.len()), with.as_bytes()[0]);
            match change {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Some(read) = decode(bytes.clone()) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_missing(bytes in "(aqueduct1)?( at=[0-9-]{0,21})?( tag=[0-9]{0,20}:?)?.{0,4}\n?") {
        if let Some(read) = decode(bytes.clone()) {
            prop_assert_eq!(read.encode(), bytes.as_bytes());
        }
    }
}
