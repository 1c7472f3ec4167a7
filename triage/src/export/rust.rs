//! A program as a regression test.

use program::Program;

/// A test file for `lockstep/tests/`, rustfmt clean.
pub fn test(name: &str, program: &Program) -> String {
    let mut function = String::new();
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        if c != '_' || !function.ends_with('_') {
            function.push(c);
        }
    }
    let function = function.trim_matches('_');
    let digit = function.starts_with(|c: char| c.is_ascii_digit());
    // No keyword has an underscore.
    let prefix = if digit || !function.contains('_') { "program_" } else { "" };
    format!(
        "//! Both sides agree on this program.\n\n\
         use lockstep::{{Lockstep, Options, Verdict}};\n\
         use optimized::Defects;\n\
         use program::Program;\n\n\
         #[test]\n\
         fn {prefix}{function}() {{\n    \
             let program: Program = PROGRAM.parse().expect(\"a program\");\n    \
             let verdict = Lockstep::new(Defects::NONE).run(&program, &Options {{ paranoid: true }});\n    \
             assert_eq!(verdict, Verdict::Clean);\n\
         }}\n\n\
         const PROGRAM: &str = \"\\\n{program}\";\n"
    )
}
