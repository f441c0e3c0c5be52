use aqueduct_orchestrator::html_text;

#[test]
fn a_page_becomes_the_text_that_a_person_would_read() {
    let page = "<!doctype html><html><head><title>On  locks</title><style>p { color: red }</style>\
        <script>if (a < b) { document.write('<p>no</p>') }</script></head><body>\
        <nav><ul><li>Home<li>About</ul></nav>\
        <h1>Locks</h1><p>A lock is <em>held</em> by\n  one thread &amp; no other.<br>Caf\u{e9}&nbsp;&#x2014;&eacute;</p>\
        <table><tr><td>a<td>b</tr><tr><td>c</table><!-- secret --><noscript>please</noscript>\
        <footer>\u{a9} 2026</footer></body></html>";
    let expected =
        "On locks\nLocks\nA lock is held by one thread & no other.\nCaf\u{e9} \u{2014}\u{e9}\na b\nc";
    assert_eq!(html_text(page), expected);
}

#[test]
fn what_is_no_html_stays_and_nothing_breaks_it() {
    assert_eq!(html_text(""), "");
    assert_eq!(html_text("plain  words\nof 1 < 2"), "plain words of 1 < 2");
    for broken in
        ["<", "<p", "<!--", "<script>", "</nav>x", "<nav>x", "&#", "<p a='", "<svg/>x", "\u{0}<b>\u{0}"]
    {
        let text = html_text(broken);
        assert!(!text.contains("script"), "{broken:?} gave {text:?}");
    }
    assert_eq!(html_text("</nav>x"), "x");
    assert_eq!(html_text("<svg/>x"), "x");
    let deep = "<div>".repeat(100_000) + "x";
    assert_eq!(html_text(&deep), "x");
}
