//! The byte form: total, lossless, dense.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use program::arena::{MAX_AREAS, MAX_MMS};
use program::codec::{DecodeError, MAX_STEPS, VERSION};
use program::digest::mix;
use program::{Campaign, Decoder, Kind, Op, Program, decode_strict, generate};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_valid_program_survives_bytes(program in common::programs()) {
        let bytes = program.encode();
        prop_assert_eq!(&Program::decode(&bytes), &program);
        prop_assert_eq!(decode_strict(&bytes), Ok(program));
    }

    #[test]
    fn any_bytes_are_a_valid_program(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let program = Program::decode(&bytes);
        prop_assert_eq!(program.validate(), Ok(()));
        prop_assert_eq!(Program::decode(&program.encode()), program);
    }

    #[test]
    fn concurrent_bytes_too(seed: u64, index: u64) {
        let mut bytes = Vec::new();
        Campaign { seed, steps: 40, concurrent: 256 }.generate(index, &mut bytes);
        let program = Program::decode(&bytes);
        prop_assert_eq!(program.validate(), Ok(()));
        prop_assert_eq!(Program::decode(&program.encode()), program);
    }

    #[test]
    fn a_used_decoder_decodes_like_a_new_one(seeds in prop::collection::vec(any::<u64>(), 1..6)) {
        let (mut decoder, mut reused, mut bytes) = (Decoder::default(), Program::default(), vec![]);
        for seed in seeds {
            let steps = (seed % 40) as usize;
            Campaign { seed, steps, concurrent: 128 }.generate(seed, &mut bytes);
            decoder.decode(&bytes, &mut reused);
            prop_assert_eq!(&reused, &Program::decode(&bytes));
        }
    }
}

#[test]
fn the_header_is_not_needed_to_fuzz() {
    let mut bytes = Vec::new();
    generate(1, 2, &mut bytes);
    let program = Program::decode(&bytes);
    bytes[..3].copy_from_slice(b"\xff\0\xff");
    assert_eq!(Program::decode(&bytes), program);
    assert!(program.steps().count() == 16);
}

#[test]
fn files_need_the_right_header() {
    let good = Program::decode(&[]).encode();
    assert!(decode_strict(&good).is_ok());
    assert_eq!(decode_strict(&good[..15]), Err(DecodeError::TooShort));
    assert_eq!(decode_strict(&[&good[..], &[0; 11]].concat()), Err(DecodeError::Truncated));
    let with = |at: usize, byte| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(decode_strict(&with(0, b'M')), Err(DecodeError::BadMagic));
    let next = VERSION + 1;
    assert_eq!(decode_strict(&with(2, next)), Err(DecodeError::UnknownVersion(next)));
}

#[test]
fn caps_hold() {
    let fork = Kind::ALL.iter().take_while(|kind| **kind != Kind::Fork);
    let fork = fork.map(|kind| kind.weight()).sum();
    let (mmap, mut record) = (Kind::Nop.weight(), [0; 12]);
    for (kind, most) in [(fork, MAX_MMS - 1), (mmap, MAX_AREAS)] {
        let mut bytes = vec![0; 16];
        record[0] = kind;
        (0..MAX_STEPS + 9).for_each(|_| bytes.extend(record));
        let program = Program::decode(&bytes);
        assert_eq!(program.validate(), Ok(()));
        assert_eq!(program.steps().count(), MAX_STEPS);
        assert_eq!(program.steps().filter(|step| step.op != Op::Nop).count(), most);
    }
}

/// The shape of random programs: a change of weights or biases shows here.
#[test]
fn random_programs_are_dense() {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let (mut kinds, mut steps, mut fails) = (BTreeMap::new(), 0, 0);
    for index in 0..20_000 {
        generate(7, index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        for step in program.steps() {
            *kinds.entry(Kind::of(&step.op)).or_insert(0) += 1;
            fails += usize::from(step.fail.is_some());
            steps += 1;
        }
    }
    assert_eq!(steps, 320_000);
    assert_eq!(kinds.len(), Kind::ALL.len(), "every kind occurs");
    let share = |kind| kinds[&kind] as f64 / steps as f64;
    for kind in Kind::ALL {
        println!("{:18} {:.4}", kind.name(), share(kind));
    }
    println!("fail {:.4}", fails as f64 / steps as f64);
    assert!(share(Kind::Nop) < 0.02);
    assert!(share(Kind::MmapAnon) > 0.05 && share(Kind::MmapAnon) < 0.25);
    assert!((0.06..0.15).contains(&(fails as f64 / steps as f64)));
}

/// Aiming must not leave anything out: every operation on a range meets every sort of area.
#[test]
fn every_operation_meets_every_sort_of_area() {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let mut met = BTreeMap::new();
    for index in 0..60_000 {
        generate(11, index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        let mut sorts = Vec::new();
        for step in program.steps() {
            let kind = Kind::of(&step.op);
            if let Some(range) = step.op.range() {
                *met.entry((kind, sorts[usize::from(range.area.0)])).or_insert(0) += 1;
            }
            match step.op {
                Op::Mmap { .. } => sorts.push(kind),
                Op::Mremap { range, .. } => sorts.push(sorts[usize::from(range.area.0)]),
                _ => {}
            }
        }
    }
    let sorts = [Kind::MmapAnon, Kind::MmapShmem, Kind::MmapFilePrivate, Kind::MmapFileShared];
    let kinds: BTreeSet<_> = met.keys().map(|&(kind, _)| kind).collect();
    assert_eq!(kinds.len(), 37);
    for kind in kinds {
        for sort in sorts {
            let times = met.get(&(kind, sort)).copied().unwrap_or(0);
            assert!(times >= 20, "{} on {}: {times}", kind.name(), sort.name());
        }
    }
}

/// What a write populated is where the others go, if they are aimed.
#[test]
fn aimed_records_go_where_pages_are() {
    let kind_byte = |kind| {
        let before = Kind::ALL.iter().take_while(|other| **other != kind);
        before.map(|kind| kind.weight()).sum::<u8>()
    };
    let record = |kind, aim: u8| [kind_byte(kind), aim << 3, 0, 0, 0, 0, 3, 0, 2, 0, 0, 0];
    let of = |records: &[[u8; 12]]| Program::decode(&[&[0; 16][..], &records.concat()].concat());
    // Four pages, read and write.
    let start = [record(Kind::MmapAnon, 0), record(Kind::Write, 2)];
    for aim in [2, 3, 14, 15] {
        for kind in [Kind::SplitFolio, Kind::Migrate, Kind::LockPage, Kind::GetFastOnly] {
            let program = of(&[start[0], start[1], record(kind, aim)]);
            let last = program.steps().last().map(|step| Kind::of(&step.op));
            assert_eq!(last, Some(kind), "{program}");
        }
    }
    // Nothing is there yet: the record makes it.
    let program = of(&[start[0], record(Kind::SplitFolio, 2)]);
    assert!(matches!(program.phases[1].steps[0].op, Op::Write { .. }), "{program}");
    let literal = of(&[start[0], record(Kind::SplitFolio, 1)]);
    assert!(matches!(literal.phases[1].steps[0].op, Op::SplitFolio { .. }), "{literal}");
}

/// Findings are kept as (seed, index) and corpora as bytes. When this fails on purpose, take the
/// new sum, and raise `VERSION` if bytes of the old one are in use anywhere.
#[test]
fn what_bytes_mean_is_stable() {
    let (mut sum, mut bytes) = (0, Vec::new());
    for index in 0..200 {
        Campaign { seed: 1, steps: 20, concurrent: 128 }.generate(index, &mut bytes);
        for byte in Program::decode(&bytes).to_string().bytes() {
            sum = mix(sum ^ u64::from(byte));
        }
    }
    assert_eq!((VERSION, format!("{sum:016x}").as_str()), (3, "ad72db4a455458cd"));
}
