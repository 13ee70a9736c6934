//! Plans as text, for readers: symbols, slots, steps.

use std::fmt;

use alula_tensor::Dim;

use crate::{Check, Place, Plan, SlotId, Step, SymbolOrigin};

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Input(position) => write!(f, "input {position}"),
            Place::Constant(position) => write!(f, "constant {position}"),
            Place::Arena { first, last } => write!(f, "arena, steps {first} to {last}"),
            Place::Dynamic => f.write_str("of its own"),
            Place::Alias(slot) => write!(f, "as {slot}"),
            Place::Part { base, offset } => write!(f, "in {base} from byte {offset}"),
        }
    }
}

impl fmt::Display for SymbolOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SymbolOrigin::Input { input, axis } => write!(f, "axis {axis} of input {input}"),
            SymbolOrigin::Content { slot, index } => write!(f, "element {index} of {slot}"),
            SymbolOrigin::Extent { slot, axis } => write!(f, "axis {axis} of {slot}"),
            SymbolOrigin::Defined(dim) => write!(f, "{dim}"),
            SymbolOrigin::Outer => f.write_str("of the outer plan"),
        }
    }
}

/// Things one after another.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(", ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |slot: &Option<SlotId>| slot.map_or("_".to_owned(), |slot| slot.to_string());
        match self {
            Step::Launch { kernel, args, name } => {
                write!(f, "launch {kernel}({}) ; {name}", list(args))
            }
            Step::Host {
                function,
                operands,
                results,
                name,
            } => {
                let operands = list(operands.iter().map(optional));
                write!(
                    f,
                    "{} = host {function:?}({operands}) ; {name}",
                    list(results)
                )
            }
            Step::Dims { values, result } => write!(f, "{result} = dims [{}]", list(values)),
            Step::If {
                cond,
                then,
                otherwise,
                results,
                name,
            } => write!(
                f,
                "{} = if {cond} plan {}({}) else plan {}({}) ; {name}",
                list(results),
                then.0,
                list(&then.1),
                otherwise.0,
                list(&otherwise.1)
            ),
            Step::Loop {
                trips,
                cond,
                body,
                carried,
                captures,
                results,
                name,
            } => write!(
                f,
                "{} = loop {} while {} plan {body} carried ({}) captures ({}) ; {name}",
                list(results),
                optional(trips),
                optional(cond),
                list(carried),
                list(captures)
            ),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check {
            left,
            right,
            nodes,
            reason,
        } = self;
        write!(f, "check {left} = {right} ; {nodes}")?;
        match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {:?} {{", self.name)?;
        for def in &self.symbols {
            writeln!(f, "  symbol {} = {}", def.symbol, def.origin)?;
        }
        for check in &self.checks {
            writeln!(f, "  {check}")?;
        }
        for (what, ports) in [("input", &self.inputs), ("output", &self.outputs)] {
            for port in ports {
                writeln!(f, "  {what} {:?} {}", port.name, port.slot)?;
            }
        }
        for (position, slot) in self.slots.iter().enumerate() {
            let bytes: &Dim = &slot.bytes;
            writeln!(
                f,
                "  s{position}: {} ({bytes} bytes) {}",
                slot.ty, slot.place
            )?;
        }
        for (position, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {position}: {step}")?;
        }
        writeln!(f, "  peak {} bytes", self.peak())?;
        writeln!(f, "}}")
    }
}
