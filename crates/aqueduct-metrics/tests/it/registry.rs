use aqueduct_core::{Classified, ErrorClass};
use aqueduct_metrics::{
    Config, ConfigError, Definition, OVERFLOW, REJECTED_SETS, RegisterError, Registry, Scale, SeriesError,
    Value,
};

const ITEMS: Definition = Definition { name: "items_total", help: "Items.", labels: &["stage", "outcome"] };
const LEVEL: Definition = Definition { name: "level", help: "A level.", labels: &[] };

fn named(name: &'static str) -> Definition {
    Definition { name, ..LEVEL }
}

fn labelled(labels: &'static [&'static str]) -> Definition {
    Definition { labels, ..ITEMS }
}

#[test]
fn the_same_definition_gives_the_same_series() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default();
    registry.counter(&ITEMS)?.series(&["score", "ok"])?.add(2);
    registry.clone().counter(&ITEMS)?.series(&["score", "ok"])?.add(3);
    assert_eq!(registry.counter(&ITEMS)?.series(&["score", "ok"])?.value(), 5);
    Ok(())
}

#[test]
fn a_name_that_is_taken_by_another_definition_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default();
    registry.gauge(&LEVEL)?;
    let error = registry.histogram(&LEVEL, Scale::COUNT).expect_err("the name is a gauge's");
    assert_eq!(error.to_string(), "metric level is registered with kind Gauge, not Histogram");
    assert_eq!(error.class(), ErrorClass::Invalid);

    let field = |error| match error {
        Err(RegisterError::Conflict { field, .. }) => field,
        _ => "none",
    };
    assert_eq!(field(registry.gauge(&Definition { help: "Another.", ..LEVEL }).map(drop)), "help");
    assert_eq!(field(registry.gauge(&Definition { labels: &["a"], ..LEVEL }).map(drop)), "labels");
    registry.histogram(&named("size"), Scale::COUNT)?;
    assert_eq!(field(registry.histogram(&named("size"), Scale::BYTES).map(drop)), "scale");
    Ok(())
}

#[test]
fn a_name_that_the_text_cannot_hold_is_refused() {
    let registry = Registry::default();
    for name in
        ["", "9lives", "a-b", "a b", "a:b", "größe", "wait_bucket", "wait_sum", "wait_count", "a_total"]
    {
        let refused = registry.gauge(&named(name)).expect_err(name);
        assert!(matches!(refused, RegisterError::Name { name: given, .. } if given == name), "{refused}");
    }
    let refused = registry.counter(&named("items")).expect_err("a counter without its ending");
    assert_eq!(refused.to_string(), "metric name \"items\" is not allowed: a counter ends in _total");
    assert!(registry.snapshot().to_text().is_empty(), "nothing was registered");
}

#[test]
fn a_label_that_the_text_cannot_hold_is_refused() {
    let registry = Registry::default();
    let cases: [&'static [&'static str]; 5] = [&[""], &["a-b"], &["__name__"], &["a", "a"], &["1st"]];
    for labels in cases {
        let refused = registry.counter(&labelled(labels)).expect_err(labels[0]);
        assert!(matches!(refused, RegisterError::Label { metric: "items_total", .. }), "{refused}");
    }
    let le = Definition { labels: &["le"], ..LEVEL };
    assert!(registry.histogram(&le, Scale::COUNT).is_err(), "le belongs to the buckets");
    assert!(registry.gauge(&le).is_ok());
}

#[test]
fn a_scale_that_cannot_be_written_is_refused_with_field_and_value() {
    let registry = Registry::default();
    let refused = |scale| {
        let error = registry.histogram(&named("size"), scale).expect_err("the scale is wrong");
        error.to_string()
    };
    assert_eq!(
        refused(Scale { steps_per_unit: 0, bounds: &[1] }),
        "steps_per_unit of metric size is 0, allowed is 1 or more"
    );
    for (bounds, shown) in [(&[][..], "[]"), (&[2, 1], "[2, 1]"), (&[1, 1], "[1, 1]")] {
        assert_eq!(
            refused(Scale { steps_per_unit: 1, bounds }),
            format!(
                "bounds of metric size is {shown}, allowed is at least one bound, each larger than the one before"
            )
        );
    }
}

#[test]
fn the_wrong_number_of_values_is_refused() -> Result<(), RegisterError> {
    let registry = Registry::default();
    let items = registry.counter(&ITEMS)?;
    assert_eq!(
        items.series(&["score"]).expect_err("one value is missing"),
        SeriesError::LabelCount { metric: "items_total", expected: 2, given: 1 }
    );
    let long = "x".repeat(129);
    let error = items.series(&["score", &long]).expect_err("the value is long");
    assert_eq!(
        error.to_string(),
        "value of label \"outcome\" of metric items_total has 129 bytes, allowed are 128"
    );
    assert_eq!(error.class(), ErrorClass::Invalid);
    Ok(())
}

#[test]
fn a_full_family_counts_on_under_overflow_and_says_how_often_it_refused()
-> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(Config { series_max: 2 })?;
    let items = registry.counter(&ITEMS)?;
    for stage in ["a", "b", "c", "d"] {
        items.series(&[stage, "ok"])?.increment();
    }
    // The one that was there before the family was full is still itself.
    items.series(&["a", "ok"])?.increment();
    assert_eq!(items.series(&["a", "ok"])?.value(), 2);
    assert_eq!(items.series(&[OVERFLOW, OVERFLOW])?.value(), 2);
    assert_eq!(registry.counter(&REJECTED_SETS)?.series(&["items_total"])?.value(), 2);

    let snapshot = registry.snapshot();
    let family = &snapshot.families[1];
    assert_eq!(family.definition, ITEMS);
    let last = family.series.last().expect("there is an overflow series");
    assert_eq!((family.series.len(), &last.value), (3, &Value::Counter(2)));
    assert_eq!(last.values.iter().map(|value| &**value).collect::<Vec<_>>(), [OVERFLOW, OVERFLOW]);
    Ok(())
}

#[test]
fn a_family_never_has_more_series_than_allowed_whoever_asks() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(Config { series_max: 10 })?;
    let items = registry.counter(&ITEMS)?;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let items = items.clone();
            scope.spawn(move || {
                for number in 0..100 {
                    let series = items.series(&[&format!("{thread}-{number}"), "ok"]);
                    series.expect("the values fit").increment();
                }
            });
        }
    });
    let snapshot = registry.snapshot();
    let family = snapshot.families.iter().find(|family| family.definition == ITEMS);
    let series = &family.expect("the family is registered").series;
    let counted = series.iter().map(|series| match series.value {
        Value::Counter(count) => count,
        _ => 0,
    });
    assert_eq!((series.len(), counted.sum::<u64>()), (11, 400), "ten, the overflow, and nothing lost");
    Ok(())
}

#[test]
fn a_limit_outside_its_range_is_refused_with_field_value_and_range() {
    for series_max in [0, 1_000_001] {
        let error = Registry::new(Config { series_max }).expect_err("the limit is out of range");
        let ConfigError { field, value, allowed } = &error;
        assert_eq!(
            (*field, value, allowed.as_str()),
            ("series_max", &series_max.to_string(), "1 to 1000000")
        );
        assert_eq!(error.class(), ErrorClass::Invalid);
    }
}
