use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_is_written_is_read_and_no_two_places_share_a_key(
        one in "[a{}%:#!7BD25]{0,6}", two in "[a{}%:#!7BD25]{0,6}",
        key in prop::collection::vec(any::<u8>(), 0..6), other in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let keys = Keys::new("p:".to_owned());
        let written = keys.entry(Place { namespace: &one, key: &key });
        let named = Named::Entry { namespace: Cow::Borrowed(&one), key: &key };
        prop_assert_eq!(keys.read(&written), Some(named));
        let hash = keys.invalidations(&one);
        prop_assert_eq!(keys.read(&hash), Some(Named::Invalidations { namespace: Cow::Borrowed(&one) }));
        let second = keys.entry(Place { namespace: &two, key: &other });
        prop_assert_eq!(written == second, one == two && key == other);
        prop_assert_ne!(hash, second);
    }
}

#[test]
fn a_long_key_is_hashed_and_differs_from_the_short_key_that_reads_like_its_hash() {
    let keys = Keys::new("p:".to_owned());
    let name = |key: &[u8]| keys.entry(Place { namespace: "n", key });
    assert_eq!(name(&[b'x'; 512]).len(), 518);
    let long = name(&[b'x'; 513]);
    assert_eq!((long.len(), keys.read(&long)), (70, Some(Named::Hashed)));
    assert_ne!(long, name(&[b'x'; 514]));
    assert_ne!(long, name(&long[6..]));
    assert_eq!(keys.read(b"q:{n}:a"), None);
    assert_eq!(keys.read(b"p:{n%41}:a"), None);
}
