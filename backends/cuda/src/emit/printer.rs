//! Lines of PTX and the registers that they use.

use super::repr::Repr;

/// The text of an entry's body as it grows.
#[derive(Debug, Default)]
pub(super) struct Printer {
    text: String,
    /// One more than the greatest register number, for each kind.
    registers: [usize; Repr::ALL.len()],
    labels: usize,
}

impl Printer {
    /// A new register.
    pub(super) fn register(&mut self, repr: Repr) -> String {
        let count = &mut self.registers[repr as usize];
        *count += 1;
        format!("{}{}", repr.prefix(), *count - 1)
    }

    /// A new label's number.
    pub(super) fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels - 1
    }

    /// An instruction without its semicolon.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push('\t');
        self.text.push_str(text);
        self.text.push_str(";\n");
    }

    /// An instruction with its result first, in a new register.
    pub(super) fn op(&mut self, repr: Repr, name: &str, operands: &str) -> String {
        let to = self.register(repr);
        self.line(&format!("{name} {to}, {operands}"));
        to
    }

    /// A place to jump to.
    pub(super) fn place(&mut self, label: &str) {
        self.text.push_str(label);
        self.text.push_str(":\n");
    }

    /// Declarations of all registers, then the text.
    pub(super) fn finish(self) -> String {
        let mut text = String::new();
        for repr in Repr::ALL {
            let count = self.registers[repr as usize];
            if count > 0 {
                let (bits, prefix) = (repr.bits(), repr.prefix());
                text.push_str(&format!("\t.reg .{bits} {prefix}<{count}>;\n"));
            }
        }
        text + &self.text
    }
}
