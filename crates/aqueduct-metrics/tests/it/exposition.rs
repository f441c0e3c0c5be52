use std::collections::BTreeSet;

use aqueduct_metrics::{Definition, Registry, Scale};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const WAIT: Definition =
    Definition { name: "shop_wait_seconds", help: "Time to an answer.", labels: &["route"] };
const CUTS: Scale = Scale { steps_per_unit: 1_000_000_000, bounds: &[5_000_000, 1_000_000_000] };

/// One of each kind, with what has to be escaped.
fn shop() -> Result<Registry, Box<dyn std::error::Error>> {
    let registry = Registry::default();
    let sold = Definition { name: "shop_sold_total", help: "Sold\nper \\ name.", labels: &["name", "size"] };
    let sold = registry.counter(&sold)?;
    sold.series(&["say \"hi\"", "a\\b"])?.add(2);
    sold.series(&["line\nfeed", ""])?.increment();
    let level = Definition { name: "shop_level", help: "How full.", labels: &[] };
    registry.gauge(&level)?.series(&[])?.set(0.25);
    let wait = registry.histogram(&WAIT, CUTS)?.series(&["/"])?;
    for nanoseconds in [1_000_000, 2_000_000, 20_000_000, 1_500_000_000] {
        wait.record(nanoseconds);
    }
    let unused = Definition { name: "shop_unused_total", help: "Nothing.", labels: &["a"] };
    registry.counter(&unused)?;
    Ok(registry)
}

#[test]
fn the_text_is_the_one_that_prometheus_reads() -> Outcome {
    let expected = r##"# HELP aqueduct_metrics_rejected_sets_total Label sets that a full family counted under its overflow series.
# TYPE aqueduct_metrics_rejected_sets_total counter
aqueduct_metrics_rejected_sets_total{metric="shop_sold_total"} 0
aqueduct_metrics_rejected_sets_total{metric="shop_unused_total"} 0
aqueduct_metrics_rejected_sets_total{metric="shop_wait_seconds"} 0
# HELP shop_level How full.
# TYPE shop_level gauge
shop_level 0.25
# HELP shop_sold_total Sold\nper \\ name.
# TYPE shop_sold_total counter
shop_sold_total{name="line\nfeed",size=""} 1
shop_sold_total{name="say \"hi\"",size="a\\b"} 2
# HELP shop_wait_seconds Time to an answer.
# TYPE shop_wait_seconds histogram
shop_wait_seconds_bucket{route="/",le="0.005"} 2
shop_wait_seconds_bucket{route="/",le="1"} 3
shop_wait_seconds_bucket{route="/",le="+Inf"} 4
shop_wait_seconds_sum{route="/"} 1.523
shop_wait_seconds_count{route="/"} 4
"##;
    let text = shop()?.snapshot().to_text();
    assert_eq!(text, expected);
    check_format(&text);
    Ok(())
}

#[test]
fn every_scale_and_every_number_follows_the_format() -> Outcome {
    let registry = shop()?;
    for (name, scale) in [("a_seconds", Scale::SECONDS), ("b_bytes", Scale::BYTES), ("c_items", Scale::COUNT)]
    {
        let histogram = registry.histogram(&Definition { name, help: "", labels: &[] }, scale)?.series(&[])?;
        for shift in 0..64 {
            histogram.record(1 << shift);
        }
    }
    let gauge = registry.gauge(&Definition { name: "d", help: "", labels: &["number"] })?;
    for (value, number) in [
        ("nan", f64::NAN),
        ("inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("large", 1e300),
        ("small", -1e-300),
        ("zero", -0.0),
    ] {
        gauge.series(&[value])?.set(number);
    }
    let text = registry.snapshot().to_text();
    assert!(text.contains("d{number=\"nan\"} NaN\nd{number=\"small\"}"), "{text}");
    assert!(text.contains("d{number=\"inf\"} +Inf\n") && text.contains("d{number=\"-inf\"} -Inf\n"));
    check_format(&text);
    Ok(())
}

#[test]
fn an_empty_registry_writes_nothing() {
    assert_eq!(Registry::default().snapshot().to_text(), "");
}

// ---- the rules of the format ----

/// Checks the rules of "Exposition formats", text format version 0.0.4, line by line.
fn check_format(text: &str) {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let mut finished = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, _) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(help);
        assert!(finished.insert(name), "{name} stands in one group");
        let kind = lines.next().and_then(|line| line.strip_prefix(&*format!("# TYPE {name} "))).expect(help);
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        let mut samples = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (sample, labels, value) = sample(line);
            samples += 1;
            assert!(seen.insert(line.rsplit_once(' ').expect(line).0), "{line} stands once");
            let ending = sample.strip_prefix(name).expect("samples follow their own type");
            match (kind, ending) {
                ("histogram", "_bucket") => {
                    let le = labels.iter().find(|(label, _)| label == "le").expect("a bucket has a bound");
                    buckets.push((number(&le.1), value));
                }
                ("histogram", "_count") => {
                    assert!(buckets.is_sorted_by(|left, right| left.0 < right.0), "bounds rise");
                    assert!(buckets.is_sorted_by(|left, right| left.1 <= right.1), "counts are cumulated");
                    assert_eq!(buckets.last(), Some(&(f64::INFINITY, value)), "+Inf is the count");
                    buckets.clear();
                }
                other => {
                    let single = [("counter", ""), ("gauge", ""), ("histogram", "_sum")];
                    assert!(single.contains(&other), "{line} does not belong to a {kind}");
                }
            }
        }
        assert!(samples > 0, "{name} has samples");
        assert!(buckets.is_empty(), "{name} ends with its count");
    }
}

/// Takes `name{label="value",…} number` apart.
fn sample(line: &str) -> (&str, Vec<(String, String)>, f64) {
    let name_end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            let (value, after) = quoted(after).expect(line);
            labels.push((label.to_owned(), value));
            rest = match after.strip_prefix(',') {
                Some(next) => next,
                None => break rest = after.strip_prefix('}').expect(line),
            };
        }
    }
    (name, labels, number(rest.strip_prefix(' ').expect(line)))
}

/// Reads an escaped value up to its quote, and gives what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            letter => value.push(letter),
        }
    }
    None
}

/// The format takes what Go's ParseFloat takes, with these spellings of the special ones.
fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        text => {
            assert!(!text.contains("inf"), "{text}");
            text.parse().expect(text)
        }
    }
}
