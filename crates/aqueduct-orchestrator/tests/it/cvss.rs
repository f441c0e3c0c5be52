use aqueduct_orchestrator::{CvssError, cvss_base_score};

fn check(vector: &str, expected: f64) {
    assert_eq!(cvss_base_score(vector), Ok(expected), "{vector}");
}

#[test]
fn published_vectors_have_their_published_scores() {
    // FIRST, "Common Vulnerability Scoring System: Examples", with the identifiers given there. The document
    // exists for 3.0 and for 3.1 with the same vectors and scores.
    let examples = [
        ("AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1), // CVE-2013-1937
        ("AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4), // CVE-2013-0375
        ("AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1), // CVE-2014-3566
        ("AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 9.9), // CVE-2012-1516
        ("AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 4.2), // CVE-2009-0783
        ("AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 8.8), // CVE-2012-0384
        ("AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 7.8), // CVE-2015-1098
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5), // CVE-2014-0160
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8), // CVE-2014-6271
        ("AV:N/AC:H/PR:N/UI:N/S:C/C:N/I:H/A:N", 6.8), // CVE-2008-1447
        ("AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 6.8), // CVE-2014-2005
        ("AV:N/AC:L/PR:N/UI:N/S:C/C:L/I:N/A:N", 5.8), // CVE-2010-0467
        ("AV:A/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:H", 9.3), // CVE-2013-6014
        ("AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N", 5.4), // CVE-2014-9253
        ("AV:A/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 8.8), // CVE-2011-1265
        ("AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N", 4.6), // CVE-2014-2019
        ("AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:N", 7.4), // CVE-2014-0224
    ];
    for (metrics, score) in examples {
        check(&format!("CVSS:3.0/{metrics}"), score);
        check(&format!("CVSS:3.1/{metrics}"), score);
    }
    // The National Vulnerability Database.
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0); // CVE-2021-44228
    check("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8); // CVE-2021-4034
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5); // CVE-2023-44487
}

#[test]
fn no_impact_scores_nothing() {
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0);
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:N/I:N/A:N", 0.0);
}

#[test]
fn the_order_of_metrics_is_free_and_optional_metrics_leave_the_base_score_alone() {
    check("CVSS:3.1/A:H/I:H/C:H/S:U/UI:N/PR:N/AC:L/AV:N", 9.8);
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/RC:U/CR:L/MAV:P/MA:N", 9.8);
}

#[test]
fn a_wrong_vector_is_an_error_that_names_the_metric() {
    const GOOD: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let message = |vector: &str| cvss_base_score(vector).expect_err(vector).to_string();
    assert_eq!(message(&format!("{GOOD}/AV:L")), "metric AV stands twice");
    assert_eq!(message(&format!("{GOOD}/XX:L")), "CVSS version 3 has no metric \"XX\"");
    assert_eq!(message(&GOOD.replace("/S:U", "")), "base metric S is missing");
    assert_eq!(message(&GOOD.replace("AV:N", "AV:Q")), "metric AV takes N, A, L, P, found \"Q\"");
    assert_eq!(message(&GOOD.replace("AV:N", "AVN")), "\"AVN\" is not a metric and its value, such as AV:N");
    assert_eq!(
        message("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"),
        "a vector of CVSS version 4.0 is not scored, only 3.0 and 3.1 are"
    );
    assert!(
        message("AV:N/AC:L/Au:N/C:P/I:P/A:P")
            .starts_with("\"AV:N/AC:L/Au:N/C:P/I:P/A:P\" is not a CVSS vector")
    );
    assert_eq!(cvss_base_score("CVSS:3.1"), Err(CvssError::Missing { metric: "AV" }));
    assert_eq!(cvss_base_score("CVSS:3.1/"), Err(CvssError::Missing { metric: "AV" }));
    assert!(cvss_base_score("").is_err());
}

#[test]
fn every_vector_of_version_3_1_scores_within_0_and_10_with_one_decimal() {
    let mut vectors = vec!["CVSS:3.1".to_owned()];
    for (metric, values) in [
        ("AV", "NALP"),
        ("AC", "LH"),
        ("PR", "NLH"),
        ("UI", "NR"),
        ("S", "UC"),
        ("C", "HLN"),
        ("I", "HLN"),
        ("A", "HLN"),
    ] {
        vectors = vectors
            .iter()
            .flat_map(|start| values.chars().map(move |value| format!("{start}/{metric}:{value}")))
            .collect();
    }
    assert_eq!(vectors.len(), 2_592);
    for vector in vectors {
        let score = cvss_base_score(&vector).expect("a whole vector");
        assert!((0.0..=10.0).contains(&score), "{vector} scores {score}");
        assert!(((score * 10.0).round() - score * 10.0).abs() < 1e-9, "{vector} scores {score}");
    }
}
