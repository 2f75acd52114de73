//! Pickles as Python writes them, and pickles that are broken or mean harm.

use super::*;

/// `{"a": {"w": [[0, 1, 2], [3, 4, 5]]}, "b/c": [1.5]}` of 32-bit floats, by numpy 2.4 in protocols 0, 2 and 4.
const GOOD: [&[u8]; 3] = [
    b"(dp0\nVa\np1\n(dp2\nVw\np3\ncnumpy._core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n(I0\ntp6\nc_codecs\n\
      encode\np7\n(Vb\np8\nVlatin1\np9\ntp10\nRp11\ntp12\nRp13\n(I1\n(I2\nI3\ntp14\ncnumpy\ndtype\np15\n(Vf4\np16\n\
      I00\nI01\ntp17\nRp18\n(I3\nV<\np19\nNNNI-1\nI-1\nI0\ntp20\nbI00\ng7\n(V\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\
      \x80?\\u0000\\u0000\\u0000@\\u0000\\u0000@@\\u0000\\u0000\x80@\\u0000\\u0000\xa0@\np21\ng9\ntp22\nRp23\ntp24\n\
      bssVb/c\np25\ng4\n(g5\n(I0\ntp26\ng11\ntp27\nRp28\n(I1\n(I1\ntp29\ng18\nI00\ng7\n(V\\u0000\\u0000\xc0?\np30\ng9\n\
      tp31\nRp32\ntp33\nbs.",
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01}q\x02X\x01\x00\x00\x00wq\x03cnumpy._core.multiarray\n_reconstruct\n\
      q\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06c_codecs\nencode\nq\x07X\x01\x00\x00\x00bq\x08X\x06\x00\x00\x00latin1\
      q\t\x86q\nRq\x0b\x87q\x0cRq\r(K\x01K\x02K\x03\x86q\x0ecnumpy\ndtype\nq\x0fX\x02\x00\x00\x00f4q\x10\x89\x88\x87\
      q\x11Rq\x12(K\x03X\x01\x00\x00\x00<q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x14b\x89h\x07X\x1b\x00\x00\
      \x00\x00\x00\x00\x00\x00\x00\xc2\x80?\x00\x00\x00@\x00\x00@@\x00\x00\xc2\x80@\x00\x00\xc2\xa0@q\x15h\t\x86q\x16R\
      q\x17tq\x18bsX\x03\x00\x00\x00b/cq\x19h\x04h\x05K\x00\x85q\x1ah\x0b\x87q\x1bRq\x1c(K\x01K\x01\x85q\x1dh\x12\x89\
      h\x07X\x05\x00\x00\x00\x00\x00\xc3\x80?q\x1eh\t\x86q\x1fRq tq!bu.",
    b"\x80\x04\x95\xda\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94}\x94\x8c\x01w\x94\x8c\x16numpy._core.multiarray\
      \x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\
      \x94(K\x01K\x02K\x03\x86\x94h\x07\x8c\x05dtype\x94\x93\x94\x8c\x02f4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94\
      NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x18\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\
      \x00\x80@\x00\x00\xa0@\x94t\x94bs\x8c\x03b/c\x94h\x06h\tK\x00\x85\x94h\x0b\x87\x94R\x94(K\x01K\x01\x85\x94h\x13\
      \x89C\x04\x00\x00\xc0?\x94t\x94bu.",
];

fn refusal(bytes: &[u8]) -> String {
    read_pickle("w.ckpt", bytes).expect_err("refused").to_string()
}

/// Replaces the only place where `from` stands in the last of the good files.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let file = GOOD[2];
    let at = file.windows(from.len()).position(|w| w == from).expect("in the file");
    [&file[..at], to, &file[at + from.len()..]].concat()
}

#[test]
fn dictionaries_of_arrays_are_read_whatever_the_protocol() {
    for file in GOOD {
        let tensors = read_pickle("w.ckpt", file).expect("plain arrays");
        let wanted = [("a/w".to_string(), vec![2, 3]), ("b/c".to_string(), vec![1])];
        tensors.check("toy", &wanted).expect("its tensors");
        assert_eq!(tensors.floats("a/w"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(tensors.floats("b/c"), [1.5]);
    }
}

#[test]
fn a_file_that_wants_to_run_something_is_refused_with_its_name() {
    // As `pickle.dumps` writes an object whose `__reduce__` gives (os.system, ("true",)), and the like.
    for (file, name) in [
        (b"cos\nsystem\n(S'true'\ntR.".as_slice(), "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "posix.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
        (b"(Vtrue\nios\nsystem\n.", "os.system"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02c_codecs\ndecode\n.", "_codecs.decode"),
    ] {
        let message = refusal(file);
        assert!(message.starts_with(&format!("w.ckpt: it wants to run `{name}`, and a weight")), "{message}");
    }
    // Hidden among good arrays, too.
    let hidden = changed(b"\x8c\x05dtype", b"\x8c\x04save");
    assert!(refusal(&hidden).contains("it wants to run `numpy.save`"), "{}", refusal(&hidden));
}

#[test]
fn every_truncation_is_refused() {
    for file in GOOD {
        for length in 0..file.len() {
            let message = refusal(&file[..length]);
            assert!(message.starts_with("w.ckpt: "), "{length}: {message}");
        }
    }
    let huge = refusal(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f12");
    assert!(
        huge.contains("it is truncated: 9223372036854775807 bytes should follow byte 11, and 2 do"),
        "{huge}"
    );
}

#[test]
fn what_is_no_dictionary_of_arrays_is_refused() {
    for (file, problem) in [
        (b"\x80\x04K\x05.".to_vec(), "it holds a number, not a dictionary of arrays"),
        (b"\x80\x04}\x8c\x01aK\x05s.".to_vec(), "`a` is a number, not an array"),
        (b"\x80\x04}K\x01}s.".to_vec(), "a key in `` is a number, not text"),
        (b"\x80\x05N.".to_vec(), "it has pickle protocol 5, and 0 to 4 are read"),
        (b"\x80\x02\x82\x01.".to_vec(), "it has the pickle instruction 0x82"),
        (b"\x80\x02}.}.".to_vec()[1..].to_vec(), "it has the pickle instruction 0x02"),
        (b"s.".to_vec(), "an instruction lacks its value"),
        (b"t.".to_vec(), "an instruction lacks its mark"),
        (b"}(Nu.".to_vec(), "a key of a dictionary lacks its value"),
        (b"NNNs.".to_vec(), "it sets a key of nothing"),
        (b"h\x07.".to_vec(), "its memo has no place 7"),
        (b"}q\x00\x8c\x01ah\x00s.".to_vec(), "`a` occurs in several places, or inside itself"),
        (changed(b"K\x02K\x03\x86", b"K\x02K\x04\x86"), "`a/w` of [2, 4] numbers of type <f4 has 24 bytes"),
        (changed(b"K\x02K\x03\x86", b"K\x02J\xff\xff\xff\xff\x86"), "it has a dimension of -1"),
        (changed(b"f4\x94\x89\x88", b"f8\x94\x89\x88"), "`a/w` of [2, 3] numbers of type <f8 has 24 bytes"),
        (changed(b"t\x94b\x89C\x18", b"t\x94b\x88C\x18"), "stored column by column"),
        (changed(b"<\x94NNN", b"<\x94NNK\x01"), "arrays of records"),
    ] {
        let message = refusal(&file);
        assert!(message.contains(problem), "{problem}: {message}");
    }
}

#[test]
fn a_small_file_cannot_describe_an_endless_one() {
    // Each dictionary holds the one before it twice.
    let mut bomb = b"}q\x00".to_vec();
    for level in 1..30u8 {
        bomb.extend([
            b'0',
            b'}',
            b'q',
            level,
            0x8c,
            1,
            b'l',
            b'h',
            level - 1,
            b's',
            0x8c,
            1,
            b'r',
            b'h',
            level - 1,
            b's',
        ]);
    }
    let bomb: Vec<u8> = bomb.iter().copied().filter(|b| *b != b'0').chain(*b".").collect();
    assert!(refusal(&bomb).contains("occurs in several places"), "{}", refusal(&bomb));
    let mut long = vec![b'N'; 1_000_001];
    long.push(b'.');
    assert!(refusal(&long).contains("it has more than 1000000 instructions"), "{}", refusal(&long));
}
