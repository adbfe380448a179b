//! Lengths: each from both sides, and the whole.

use super::*;

#[test]
fn a_hello_may_not_be_larger_than_its_bound() {
    let padded = |n: usize| message(&body(&[sni(b"a.test"), ext(21, &vec![0; n])]));
    let big = records(&padded(9000), 4000);
    let mut exact = HelloParser::new(big.len());
    assert!(exact.push(&big).unwrap().is_some());
    let mut short = HelloParser::new(big.len() - 1);
    assert!(matches!(short.push(&big), Err(HelloError::TooLarge { .. })));
    // The announced length is enough to know.
    let announced = record(&[1, 0xff, 0xff, 0xff]);
    assert!(matches!(
        parse(&announced),
        Err(HelloError::TooLarge { .. })
    ));
    let huge = records(&padded(40_000), 1 << 14);
    assert!(matches!(parse(&huge), Err(HelloError::TooLarge { .. })));
    // Headers count: one byte a record makes six of each.
    let thin = records(&padded(4000), 1);
    assert!(matches!(parse(&thin), Err(HelloError::TooLarge { .. })));
}

/// Refused by us and in our words, although the TLS library would refuse some of it, too: two readers
/// that agree are the point.
#[test]
fn each_length_of_a_hello_is_held_to_its_bounds() {
    let made = |session: usize, suites: &[u8], compression: &[u8], extensions: &[Vec<u8>]| {
        let extensions = [extensions.concat(), signature_algorithms()].concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vec8(&vec![1; session]),
            &vec16(suites),
            &vec8(compression),
            &vec16(&extensions),
        ]
        .concat();
        records(&message(&body), 1 << 14)
    };
    let plain = &[0xc0, 0x2b];
    let many = |n: u16| -> Vec<Vec<u8>> { (0..n).map(|i| ext(0x2000 + i, &[])).collect() };
    let behind = |kind: u16, list: Vec<u8>| vec![ext(kind, &[list, vec![0]].concat())];
    let h2 = vec16(&vec8(b"h2"));
    for (row, bytes, why) in [
        ("plain", made(0, plain, &[0], &[]), None),
        ("a session id of 32", made(32, plain, &[0], &[]), None),
        (
            "a session id of 33",
            made(33, plain, &[0], &[]),
            Some("longer than 32"),
        ),
        (
            "no suites",
            made(0, &[], &[0], &[]),
            Some("cipher suite list"),
        ),
        (
            "half a suite",
            made(0, &[0xc0, 0x2b, 0xc0], &[0], &[]),
            Some("cipher suite list"),
        ),
        (
            "no compression",
            made(0, plain, &[], &[]),
            Some("compression list"),
        ),
        (
            "255 extensions and one",
            made(0, plain, &[0], &many(255)),
            None,
        ),
        (
            "256 extensions and one",
            made(0, plain, &[0], &many(256)),
            Some("too many extensions"),
        ),
        (
            "bytes behind the alpn list",
            made(0, plain, &[0], &behind(16, h2)),
            Some("alpn list"),
        ),
        (
            "bytes behind the version list",
            made(0, plain, &[0], &behind(43, vec8(&[3, 4]))),
            Some("version list"),
        ),
        (
            "an empty version list",
            made(0, plain, &[0], &[ext(43, &vec8(&[]))]),
            Some("version list"),
        ),
        (
            "an empty name",
            hello(&[sni(b"")]),
            Some("not a host name in ascii"),
        ),
        (
            "a name that is not ASCII",
            hello(&[sni("ä.test".as_bytes())]),
            Some("not a host name in ascii"),
        ),
        (
            "bytes behind the name list",
            hello(&[ext(0, &[vec16(&sni_entry(0, b"a.test")), vec![0]].concat())]),
            Some("server name list"),
        ),
        (
            "a record of one byte too many",
            [0x16, 3, 1, 0x40, 1].to_vec(),
            Some("longer than tls allows"),
        ),
        (
            "an empty record",
            [0x16, 3, 1, 0, 0].to_vec(),
            Some("empty handshake record"),
        ),
    ] {
        match (parse(&bytes), why) {
            (Ok(Some(_)), None) => {}
            (Err(e), Some(why)) => assert!(e.to_string().contains(why), "{row}: {e}"),
            (got, _) => panic!("{row}: {got:?}"),
        }
    }
}

#[test]
fn a_record_may_be_as_long_as_tls_allows_and_a_hello_as_its_reader_does() {
    let padded = |n: usize| message(&body(&[sni(b"a.test"), ext(21, &vec![0; n])]));
    let rest = padded(0).len();
    let full = records(&padded((1 << 14) - rest), 1 << 14);
    assert_eq!(full.len(), (1 << 14) + 5, "one record, full");
    let read = |max: usize| HelloParser::new(max).push(&full);
    assert!(matches!(read(full.len()), Ok(Some(_))));
    assert!(matches!(
        read(full.len() - 1),
        Err(HelloError::TooLarge { .. })
    ));
    // The length that a message announces may be all that the reader takes, and not one byte more.
    let announced = |length: u32| {
        let [_, length @ ..] = length.to_be_bytes();
        HelloParser::new(1000).push(&record(&[&[1], &length[..]].concat()))
    };
    assert!(matches!(announced(1000), Ok(None)));
    assert!(matches!(announced(1001), Err(HelloError::TooLarge { .. })));
}
