//! Families: what is made for one belongs to it, and steering changes nothing but the header.

use program::{Campaign, Family, Program, SplitMix64};

#[test]
fn what_is_made_belongs_to_its_family() {
    let mut bytes = Vec::new();
    for family in Family::ALL {
        let mut rng = SplitMix64::new(3);
        let mut held = 0;
        for _ in 0..200 {
            family.generate(16, &mut rng, &mut bytes);
            held += u32::from(family.holds(&Program::decode(&bytes)));
        }
        assert!(held >= 150, "{}: {held} of 200", family.name);
    }
}

#[test]
fn steering_is_done_once_and_leaves_the_steps_alone() {
    let (mut program, mut bytes) = (Vec::new(), Vec::new());
    for family in Family::ALL {
        for index in 0..200 {
            Campaign { concurrent: 128, ..Campaign::new(3) }.generate(index, &mut program);
            let literal = Program::decode(&program);
            bytes.clone_from(&literal.encode());
            family.steer(&mut bytes);
            // Out of its phases a step sees what others of its phase made.
            if family != Family::SEQUENTIAL {
                let steered = Program::decode(&bytes);
                assert!(steered.steps().eq(literal.steps()));
            }
            let once = bytes.clone();
            family.steer(&mut bytes);
            assert_eq!(bytes, once, "{}", family.name);
        }
    }
}

#[test]
fn a_driver_has_devices() {
    for pages in 0..=u8::MAX {
        let mut bytes = vec![0; 28];
        bytes[7] = pages;
        let before = Program::decode(&bytes).shape;
        Family::DEVICE.steer(&mut bytes);
        let after = Program::decode(&bytes).shape;
        // Counts that follow the header are the program's own.
        assert_eq!(after.has_device(), pages != u8::MAX, "{pages}");
        assert!(before.has_device() <= after.has_device());
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
