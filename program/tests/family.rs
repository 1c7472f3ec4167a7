//! Families: what steering makes of bytes belongs to the family, and nothing else is changed.

use program::{Campaign, Family, Program};

#[test]
fn steered_programs_belong_to_their_family() {
    let mut bytes = Vec::new();
    for family in Family::ALL {
        let mut held = 0;
        for index in 0..200 {
            Campaign { concurrent: 128, ..Campaign::new(3) }.generate(index, &mut bytes);
            family.steer(&mut bytes);
            held += u32::from(family.holds(&Program::decode(&bytes)));
            let steered = bytes.clone();
            family.steer(&mut bytes);
            assert_eq!(bytes, steered, "{}", family.name);
        }
        // A concurrent header alone does not put two steps into one phase.
        assert!(held >= 150, "{}: {held} of 200", family.name);
    }
}

#[test]
fn steering_takes_any_length() {
    for family in Family::ALL {
        for len in 0..20 {
            family.steer(&mut vec![0xFF; len]);
        }
    }
}
