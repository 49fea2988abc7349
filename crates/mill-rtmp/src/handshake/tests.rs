//! Vectors made by a second implementation (HMAC-SHA256 of another language), and pairs.

use super::{digest::*, *};

/// `(index * factor + start) mod 256`.
fn pattern(factor: usize, start: usize) -> Packet {
    std::array::from_fn(|index| (index * factor + start) as u8)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check_digest(schema: Schema, at: usize, digest: &str, s2: &str, c2: &str) {
    let mut c1 = pattern(7, 3);
    let made = sign(&mut c1, schema, &CLIENT_KEY[..CLIENT_TEXT]);
    assert_eq!(hex(&made), digest);
    assert_eq!(c1[at..at + DIGEST_SIZE], made);
    assert_eq!(find(&c1, &CLIENT_KEY[..CLIENT_TEXT]), Some((schema, made)));
    for (key, tail) in [(&SERVER_KEY[..], s2), (&CLIENT_KEY[..], c2)] {
        let mut answer = pattern(11, 5);
        sign_answer(&mut answer, key, &made);
        assert_eq!(hex(&answer[PACKET_SIZE - DIGEST_SIZE..]), tail);
    }
}

#[test]
fn digest_of_schema_0() {
    check_digest(
        Schema::Zero,
        942,
        "492c04ebd265e6343c4c12f5580a46399bec2724821f27f321b95ca75b63b318",
        "46d3e68131013dfb86ecb7cc716a6d497e1d145b60d500ea26c7ee8333130d7b",
        "b0bc6f3ea25ffcdd52ae52d6a71bb6bab59aaeb5531ed186cc198c25192f2eb2",
    );
}

#[test]
fn digest_of_schema_1() {
    check_digest(
        Schema::One,
        290,
        "36d27b365b84e5e55f376e2f24f3a7dd6b8b5e9b002f035f99366c07e43b8d41",
        "e282b9b9cd1164c88950bde72e27577b3c0738823a50b270262afbbb0d6edadc",
        "862957eb1ee4df8f3757bf310a02ef9c8b6c6cb547dc48f4fa37426fbd05ea93",
    );
}

#[test]
fn a_packet_without_digest_has_none() {
    assert_eq!(find(&pattern(7, 3), &CLIENT_KEY[..CLIENT_TEXT]), None);
}

/// What a server answers to `c1`, byte by byte.
fn answer_to(c1: &Packet) -> (Server, BytesMut) {
    let (mut server, mut output) = (Server::new(1), BytesMut::new());
    let mut input = BytesMut::new();
    for &byte in [VERSION].iter().chain(c1) {
        input.extend_from_slice(&[byte]);
        assert_eq!(server.handle_input(&mut input, &mut output), Ok(false));
    }
    (server, output)
}

#[test]
fn the_server_echoes_a_simple_client() {
    let mut c1 = pattern(3, 9);
    c1[4..8].fill(0);
    let (server, output) = answer_to(&c1);
    assert_eq!(server.form(), Some(Form::Simple));
    assert_eq!(output.len(), 3073);
    assert_eq!(output[0], 3);
    assert_eq!(output[5..9], c1[..4], "S1 has the time of C1");
    assert_eq!(output[1537..], c1, "S2 is C1");
}

#[test]
fn the_server_answers_in_the_schema_of_the_client() {
    for schema in [Schema::Zero, Schema::One] {
        let mut c1 = pattern(7, 3);
        let digest = sign(&mut c1, schema, &CLIENT_KEY[..CLIENT_TEXT]);
        let (server, output) = answer_to(&c1);
        assert_eq!(server.form(), Some(Form::Complex(schema)));
        let s1 = output[1..1537].try_into().unwrap();
        let s2 = output[1537..].try_into().unwrap();
        assert_eq!(complex::server_digest(s1).map(|(schema, _)| schema), Some(schema));
        assert!(is_answer(s2, SERVER_KEY, &digest));
    }
}

#[test]
fn client_and_server_agree() {
    let (mut client, mut server) = (Client::new(1), Server::new(2));
    let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
    assert_eq!(client.handle_input(&mut down, &mut up), Ok(false));
    let c1: Packet = up[1..].try_into().unwrap();
    assert_eq!(c1[4..8], [0x80, 0, 7, 2]);

    assert_eq!(server.handle_input(&mut up, &mut down), Ok(false));
    let s1: Packet = down[1..1537].try_into().unwrap();
    assert_eq!(client.handle_input(&mut down, &mut up), Ok(true));
    let c2: Packet = up[..].try_into().unwrap();
    let (_, digest) = complex::server_digest(&s1).unwrap();
    assert!(is_answer(&c2, CLIENT_KEY, &digest));

    up.extend_from_slice(b"chunk");
    assert_eq!(server.handle_input(&mut up, &mut down), Ok(true));
    assert_eq!(server.form(), Some(Form::Complex(Schema::One)));
    assert_eq!(up, "chunk", "what follows belongs to the chunk reader");
}

#[test]
fn the_client_echoes_a_simple_server() {
    let mut client = Client::new(1);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    client.handle_input(&mut input, &mut output).unwrap();
    output.clear();
    let s1 = pattern(5, 1);
    input.extend_from_slice(&[3]);
    input.extend_from_slice(&s1);
    assert_eq!(client.handle_input(&mut input, &mut output), Ok(false), "S2 is missing");
    assert_eq!(output[..], s1);
    input.extend_from_slice(&[0; PACKET_SIZE]);
    assert_eq!(client.handle_input(&mut input, &mut output), Ok(true), "whatever S2 is");
}

#[test]
fn other_protocols_are_refused_at_their_first_byte() {
    for first in [b'G', 6, 0x16, 0] {
        let mut input = BytesMut::from(&[first][..]);
        let refused = Err(Error::NotRtmp { first });
        assert_eq!(Server::new(1).handle_input(&mut input, &mut BytesMut::new()), refused);
        assert_eq!(Client::new(1).handle_input(&mut input, &mut BytesMut::new()), refused);
    }
}

#[test]
fn a_proxy_header_is_skipped() {
    for (header, ip) in [
        (&[0xF3, 0, 4, 10, 0, 0, 7][..], Some(Ipv4Addr::new(10, 0, 0, 7))),
        (&[0xF3, 0, 6, 10, 0, 0, 7, 1, 2][..], Some(Ipv4Addr::new(10, 0, 0, 7))),
        (&[0xF3, 0, 2, 10, 0][..], None),
    ] {
        let (mut server, mut output, mut input) = (Server::new(1), BytesMut::new(), BytesMut::new());
        for &byte in header.iter().chain([VERSION].iter()).chain(&pattern(3, 0)) {
            input.extend_from_slice(&[byte]);
            assert_eq!(server.handle_input(&mut input, &mut output), Ok(false));
        }
        assert_eq!((server.proxied(), output.len()), (ip, 3073));
    }
}

#[test]
fn a_long_proxy_header_is_refused() {
    let mut input = BytesMut::from(&[0xF3, 4, 1][..]);
    let error = Server::new(1).handle_input(&mut input, &mut BytesMut::new()).unwrap_err();
    assert_eq!((error.code(), error), (2054, Error::ProxyHeader { length: 1025 }));
}
