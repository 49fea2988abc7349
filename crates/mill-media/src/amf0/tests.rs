//! AMF0 against bytes from the wire, against itself, and against noise.

use proptest::prelude::*;

use super::*;

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

#[track_caller]
fn check(bytes: &[u8], expected: Value) {
    assert_eq!(parse_all(bytes), Ok(vec![expected.clone()]));
    assert_eq!(written(&expected), bytes);
}

#[test]
fn wire_forms() {
    check(b"\x00\x40\x74\0\0\0\0\0\0", 320.0.into());
    check(b"\x01\x01", true.into());
    check(b"\x02\0\x0aonMetaData", "onMetaData".into());
    check(b"\x03\0\x03app\x02\0\x04live\0\0\x09", Object::new().with("app", "live").into());
    check(b"\x05", Value::Null);
    check(b"\x06", Value::Undefined);
    check(b"\x08\0\0\0\x01\0\x01a\x05\0\0\x09", Value::EcmaArray(Object::new().with("a", Value::Null)));
    check(b"\x0a\0\0\0\x02\x05\x01\0", Value::StrictArray(vec![Value::Null, false.into()]));
    check(b"\x0b\x3f\xf0\0\0\0\0\0\0\xff\xc4", Value::Date { millis: 1.0, zone: -60 });
    check(&written(&"x".repeat(70_000).into()), "x".repeat(70_000).into());
}

#[test]
fn forms_that_are_only_read() {
    let read = |bytes: &[u8]| parse_all(bytes).unwrap().remove(0);
    assert_eq!(read(b"\x0f\0\0\0\x04<a/>"), "<a/>".into());
    assert_eq!(read(b"\x10\0\x01C\0\x01a\x05\0\0\x09"), Object::new().with("a", Value::Null).into());
    assert_eq!(read(b"\x04"), Value::Undefined);
    assert_eq!(read(b"\x07\0\x01"), Value::Undefined);
    assert_eq!(read(b"\x0d"), Value::Undefined);
    assert_eq!(read(b"\x02\0\x02\xff!"), "\u{fffd}!".into());
}

#[test]
fn sloppy_objects() {
    let one = Object::new().with("a", 0.0);
    // A count that lies, an end marker that is missing, also at two levels at once.
    let lying = b"\x08\0\0\0\x63\0\x01a\0\0\0\0\0\0\0\0\0\0\0\x09";
    assert_eq!(parse_all(lying), Ok(vec![Value::EcmaArray(one.clone())]));
    assert_eq!(parse_all(&lying[..lying.len() - 3]), Ok(vec![Value::EcmaArray(one.clone())]));
    let nested = b"\x03\0\x01o\x03\0\x01a\0\0\0\0\0\0\0\0\0";
    assert_eq!(parse_all(nested), Ok(vec![Object::new().with("o", one).into()]));
    // An empty key is a member like any other.
    assert_eq!(parse_all(b"\x03\0\0\x05\0\0\x09"), Ok(vec![Object::new().with("", Value::Null).into()]));
}

#[test]
fn errors_say_where() {
    assert_eq!(parse_all(b"\x05\x02\0\x05ab"), Err(Error::Truncated { offset: 6 }));
    assert_eq!(parse_all(b"\x05\x11"), Err(Error::Marker { offset: 1, marker: 0x11 }));
    let mut input: &[u8] = b"\x00\x01";
    assert!(Value::parse(&mut input).is_err());
    assert_eq!(input, b"\x00\x01");
}

#[test]
fn limits() {
    let deep: Vec<u8> = b"\x0a\0\0\0\x01".repeat(MAX_DEPTH);
    assert_eq!(parse_all(&deep), Err(Error::TooDeep { offset: MAX_DEPTH * 5 }));
    assert_eq!(parse_all(&[5; MAX_VALUES]).map(|values| values.len()), Ok(MAX_VALUES));
    assert_eq!(parse_all(&[5; MAX_VALUES + 1]), Err(Error::TooMany { offset: MAX_VALUES }));
}

#[test]
fn objects_keep_order_and_the_last_word() {
    let twice = b"\x03\0\x01a\x05\0\x01b\x05\0\x01a\x01\x01\0\0\x09";
    let Value::Object(mut object) = parse_all(twice).unwrap().remove(0) else { panic!("not an object") };
    assert_eq!(object.get("a"), Some(&true.into()));
    object.set("a", 1.0);
    assert_eq!(object.iter().collect::<Vec<_>>(), [("a", &1.0.into()), ("b", &Value::Null)]);
    assert_eq!(object.remove("a"), Some(1.0.into()));
    assert_eq!(object.remove("a"), None);
    assert_eq!(object.len(), 1);
}

#[test]
fn long_keys_are_cut_between_characters() {
    let object: Value = Object::new().with("é".repeat(MAX_SHORT), Value::Null).into();
    assert_eq!(parse_all(&written(&object)), Ok(vec![object]));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::num::f64::NORMAL.prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,12}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        (proptest::num::f64::NORMAL, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let members = proptest::collection::vec((".{0,6}", inner.clone()), 0..6).prop_map(Object);
        prop_oneof![
            members.clone().prop_map(Value::Object),
            members.prop_map(Value::EcmaArray),
            proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn round_trip(value in any_value()) {
        let bytes = written(&value);
        let mut input = bytes.as_slice();
        prop_assert_eq!(Value::parse(&mut input), Ok(value));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(prop_oneof![0u8..18, any::<u8>()], 0..300)) {
        if let Ok(values) = parse_all(&bytes) {
            let again: Vec<u8> = values.iter().flat_map(written).collect();
            let again = parse_all(&again).unwrap();
            // NaN is unlike itself, so the text is compared.
            prop_assert_eq!(format!("{values:?}"), format!("{again:?}"));
        }
    }
}
