//! Byte forms that earlier versions wrote, kept in `data/`, with the text that they were made of.

use std::fs;
use std::path::Path;

use program::codec::{DecodeError, HEADER_BYTES, VERSION, upgrade};
use program::{Campaign, Program, decode_strict, text};

#[test]
fn files_of_version_1_mean_what_they_meant() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v1"));
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        assert_eq!(decode_strict(&bytes), Err(DecodeError::OldVersion(1)), "{path:?}");
        let source = fs::read_to_string(path.with_extension("txt")).expect("its text");
        let program = text::parse(&source).expect("a program").program;
        let new = upgrade(&bytes).expect("version 1");
        assert_eq!(decode_strict(&new).as_ref(), Ok(&program), "{path:?}");
        assert_eq!(upgrade(&new), Ok(new), "{path:?}: once is enough");
        files += 1;
    }
    assert!(files >= 5, "{files} files");
}

#[test]
fn any_old_bytes_become_a_program_of_this_version() {
    let mut bytes = Vec::new();
    for index in 0..200 {
        Campaign { concurrent: 128, ..Campaign::new(9) }.generate(index, &mut bytes);
        bytes[2] = 1;
        let new = upgrade(&bytes).expect("version 1");
        assert_eq!(new[2], VERSION);
        assert_eq!(Program::decode(&new).validate(), Ok(()));
        let cut = HEADER_BYTES + index as usize;
        upgrade(&bytes[..cut.min(bytes.len())]).expect("a short file of version 1");
    }
}

/// `mremap` on one CPU makes an area, and another CPU's step means the one before that: the one that
/// version 2 let it name.
#[test]
fn an_area_of_another_cpu_stays_unnamed() {
    let source = "\
machine cpus=2
m0 = mmap len=2 rw private
phase:
  cpu0: m1 = mremap m0
  cpu1: write m0+1
";
    let program: Program = source.parse().expect("a program");
    let mut bytes = program.encode();
    let write = bytes.len() - 12;
    bytes[write + 3] = 1; // not an area of its own: the next one round, m0
    let now = Program::decode(&bytes);
    assert!(now.to_string().contains("cpu1: write m1\n"), "{now}");
    bytes[2] = 2;
    assert_eq!(Program::decode(&upgrade(&bytes).expect("version 2")), program);
}

#[test]
fn what_no_version_wrote_is_refused() {
    let mut bytes = Program::default().encode();
    assert_eq!(upgrade(&bytes[..HEADER_BYTES - 1]), Err(DecodeError::TooShort));
    bytes[2] = VERSION + 1;
    assert_eq!(upgrade(&bytes), Err(DecodeError::UnknownVersion(VERSION + 1)));
    bytes[2] = 0;
    assert_eq!(upgrade(&bytes), Err(DecodeError::UnknownVersion(0)));
    bytes[0] = b'x';
    assert_eq!(upgrade(&bytes), Err(DecodeError::BadMagic));
}
