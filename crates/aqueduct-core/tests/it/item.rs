use aqueduct_core::{Item, ItemId, PartitionId, Payload, Record, SourceId};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = ItemId> {
    (0..3_u32, 0..12_u32, prop_oneof![0..2000_u64, any::<u64>()], prop::collection::vec(0..12_u32, 0..3))
        .prop_map(|(source, partition, offset, children)| {
            children
                .into_iter()
                .fold(ItemId::new(SourceId(source), PartitionId(partition), offset), |id, child| {
                    id.child(child)
                })
        })
}

proptest! {
    #[test]
    fn ids_sort_the_same_as_values_and_as_text(a in id(), b in id()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn an_id_is_read_back_from_its_text(id in id()) {
        prop_assert_eq!(id.to_string().parse::<ItemId>(), Ok(id));
    }

    #[test]
    fn no_text_makes_the_id_reader_panic(text in ".*") {
        if let Ok(id) = text.parse::<ItemId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn a_typed_payload_becomes_a_record_when_somebody_asks() {
    #[derive(serde::Serialize)]
    struct Scored {
        id: &'static str,
        score: f64,
    }
    let item = Item {
        id: ItemId::new(SourceId(0), PartitionId(0), 7),
        payload: Payload::Typed(Box::new(Scored { id: "a", score: 0.5 })),
    };
    assert_eq!(item.payload.record().unwrap().as_text(), r#"{"id":"a","score":0.5}"#);
    assert_eq!(item.payload.typed::<Scored>().map(|scored| scored.score), Some(0.5));
    assert!(item.payload.typed::<Record>().is_none());
    let not_an_object = Payload::Typed(Box::new(5));
    assert_eq!(not_an_object.record().unwrap_err().to_string(), "the stage's value is not a JSON object");
}

#[test]
fn everything_in_flight_can_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Item>();
    crosses::<aqueduct_core::Clock>();
    crosses::<aqueduct_core::ShutdownSignal>();
}
