//! Trees, mistakes and includes.

use proptest::prelude::*;

use super::*;
use crate::tree;

fn parse_with(text: &str, read: &mut Read<'_>) -> (Vec<Directive>, Report) {
    let mut report = Report::default();
    let tree = parse("main.conf", text.as_bytes(), read, &mut report);
    (tree, report)
}

fn parse_one(text: &str) -> (Vec<Directive>, Report) {
    parse_with(text, &mut |_| Err(io::ErrorKind::NotFound.into()))
}

/// The tree without a finding, written in the plainest way.
#[track_caller]
fn check(text: &str, expected: &str) {
    let (tree, report) = parse_one(text);
    assert!(report.is_empty(), "{report}");
    assert_eq!(tree::write(&tree).unwrap(), expected);
}

/// Exactly these findings, as `line:column: message`.
#[track_caller]
fn check_findings(text: &str, expected: &[&str]) {
    let (_, report) = parse_one(text);
    let found: Vec<String> = report
        .iter()
        .map(|finding| format!("{}:{}: {}", finding.line, finding.column, finding.message))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn leaves_and_blocks() {
    check("listen 1935;", "listen 1935;\n");
    check(
        "vhost a\t{ hls; play{gop_cache off;}}",
        "vhost a {\n    hls;\n    play {\n        gop_cache off;\n    }\n}\n",
    );
    check("a{}b;", "a {\n}\nb;\n");
}

#[test]
fn crlf_a_byte_order_mark_and_a_missing_last_newline_are_fine() {
    check("\u{feff}a 1;\r\n# x\r\nb {\r\n}\r\n", "a 1;\nb {\n}\n");
    check("a 1; # no newline", "a 1;\n");
}

#[test]
fn empty_quotes_add_no_argument() {
    check("a \"\" b '';", "a b;\n");
    check_findings("\"\";", &["1:3: a directive needs a name before `;`"]);
}

#[test]
fn a_directive_over_several_lines_is_accepted_with_a_warning() {
    let (tree, report) = parse_one("a 1\n  # why\n 2;\nb\n{\n}\n");
    assert_eq!(tree::write(&tree).unwrap(), "a 1 2;\nb {\n}\n");
    assert_eq!((report.errors(), report.warnings()), (0, 1), "`{{` on its own line is fine: {report}");
    check_findings("a 1\n;", &["1:3: `a` goes on over the end of its line"]);
}

#[test]
fn a_forgotten_semicolon_is_guessed() {
    let (_, report) = parse_one("vhost v {\n    tcp_nodelay on\n    min_latency on;\n}\n");
    let text = report.to_string();
    assert!(text.contains("main.conf:2:17") && text.contains("is a `;` missing here?"), "{text}");
    assert!(text.contains("`min_latency` is read as an argument of `tcp_nodelay`"), "{text}");
}

#[test]
fn each_mistake_has_its_place() {
    check_findings("a 1", &["1:3: `;` or `{` expected before the end of the file"]);
    check_findings("v { a on }", &["1:7: `;` or `{` expected before `}`"]);
    check_findings("\nvhost a {\n b;\n", &["2:1: this block is never closed"]);
    check_findings("a;\n}\n", &["2:1: `}` closes no block"]);
    check_findings(" ;", &["1:2: a directive needs a name before `;`"]);
    check_findings("{ a; }", &["1:1: a block needs a name before `{`"]);
    check_findings("a \"b\"c;", &["1:6: a blank, `;` or `{` must follow the closing quote"]);
    check_findings(
        "a \"b\"}\n;",
        &[
            "1:6: a blank, `;` or `{` must follow the closing quote",
            "1:1: `a` goes on over the end of its line",
        ],
    );
    check_findings("a;\nb \"c;\nd;\n", &["2:3: this quote is never closed"]);
    check_findings("v {\n a \"b; }\n", &["2:4: this quote is never closed"]);
}

#[test]
fn all_mistakes_are_found_in_one_go() {
    check_findings(
        "a on }\nb 'x'y;\n;\nvhost v {\n",
        &[
            "1:3: `;` or `{` expected before `}`",
            "1:6: `}` closes no block",
            "2:6: a blank, `;` or `{` must follow the closing quote",
            "3:1: a directive needs a name before `;`",
            "4:1: this block is never closed",
        ],
    );
}

#[test]
fn bytes_that_are_not_utf8_are_warned_of() {
    let mut report = Report::default();
    let tree = parse("m", b"a b\xffc; # \xfe\n", &mut |_| unreachable!(), &mut report);
    assert_eq!(tree::write(&tree).unwrap(), "a b\u{fffd}c;\n");
    assert_eq!((report.errors(), report.warnings()), (0, 1), "{report}");
}

#[test]
fn includes_are_spliced_in_where_they_stand() {
    let mut read = |name: &str| match name {
        "one" => Ok(b"x 1;".to_vec()),
        "dir/two" => Ok(b"y { include one; }".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let (tree, report) = parse_with("a; vhost v { include one dir/two; z; }", &mut read);
    assert!(report.is_empty(), "{report}");
    let expected = "a;\nvhost v {\n    x 1;\n    y {\n        x 1;\n    }\n    z;\n}\n";
    assert_eq!(tree::write(&tree).unwrap(), expected);
}

#[test]
fn mistakes_in_an_included_file_are_shown_there() {
    let (_, report) = parse_with("a;\ninclude other.conf;", &mut |_| Ok(b"\n }".to_vec()));
    let finding = report.iter().next().unwrap();
    assert_eq!((finding.source, finding.line, finding.column), ("other.conf", 2, 2));
}

#[test]
fn includes_can_go_wrong() {
    check_findings("include;", &["1:1: `include` needs the name of a file"]);
    check_findings("include x { }", &["1:1: `include` takes file names, not a block"]);
    check_findings("\ninclude x;", &["2:9: cannot read `x`: entity not found"]);
    let (_, report) = parse_with("include a;", &mut |_| Ok(b"include main.conf;".to_vec()));
    assert!(report.to_string().contains("`main.conf` includes itself"), "{report}");
}

#[test]
fn limits_hold() {
    let mut depth = 0;
    let (_, report) = parse_with("include 0;", &mut |_| {
        depth += 1;
        Ok(format!("include {depth};").into_bytes())
    });
    assert_eq!((depth, report.errors()), (MAX_INCLUDE_DEPTH, 1), "{report}");

    let (_, report) = parse_with(&"include x;".repeat(MAX_INCLUDES + 1), &mut |_| Ok(Vec::new()));
    assert_eq!(report.errors(), 1, "{report}");

    let (_, report) = parse_with("include x;", &mut |_| Ok(vec![b' '; MAX_TOTAL_BYTES]));
    assert_eq!(report.errors(), 1, "{report}");

    assert_eq!(parse_one(&"a {".repeat(MAX_NESTING)).1.errors(), MAX_NESTING, "each is never closed");
    let too_deep = parse_one(&"a {".repeat(100_000)).1;
    assert_eq!(too_deep.errors(), 1, "{too_deep}");

    let (_, report) = parse_one(&";".repeat(10_000));
    assert_eq!(report.errors(), 10_000);
    assert!(report.to_string().ends_with("and 9800 more"));
}

fn word() -> impl Strategy<Value = Word> {
    let any = "[a-z0-9;{}#\"' \t\r\né直\u{feff}\\\\]{1,8}"
        .prop_filter("expressible", |text: &String| tree::write_word(text).is_some() && text != "include");
    any.prop_map(|text| Word { text, span: Span::default() })
}

fn directive() -> impl Strategy<Value = Directive> {
    let leaf = (word(), prop::collection::vec(word(), 0..4)).prop_map(|(name, args)| Directive {
        name,
        args,
        body: None,
    });
    leaf.prop_recursive(4, 32, 4, |inner| {
        (word(), prop::collection::vec(word(), 0..3), prop::collection::vec(inner, 0..4))
            .prop_map(|(name, args, body)| Directive { name, args, body: Some(body) })
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(tree in prop::collection::vec(directive(), 0..6)) {
        let text = tree::write(&tree).unwrap();
        let (read, report) = parse_one(&text);
        prop_assert_eq!(report.errors(), 0, "{}", report);
        prop_assert_eq!(read, tree);
    }
}
