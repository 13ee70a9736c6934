//! Fusion plans as text: printed, edited, loaded again, on any target.
//!
//! ```text
//! ; a group is one kernel: nodes by name, the last one being the one whose result it makes
//! graph main
//!   conv1 + relu1
//!   "node 7" + sum
//!   softmax
//! ```
//!
//! Graphs come in the order of their plans: the model's, then its sub-graphs. Nodes that share a
//! name are told apart as `name`, `name#2`, `name#3`, in the order in which they run. Nodes that
//! no group lists stay alone. A node may be in several groups; each computes it for itself.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::str::FromStr;

use super::FusionReport;

/// What is to be fused, by the names of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FusionPlan {
    /// Each graph's name and groups.
    pub graphs: Vec<(String, Vec<Vec<String>>)>,
}

impl FusionPlan {
    /// What was fused, to be edited.
    pub fn of(reports: &[FusionReport]) -> FusionPlan {
        let graph = |report: &FusionReport| (report.graph.clone(), report.labels.clone());
        FusionPlan {
            graphs: reports.iter().map(graph).collect(),
        }
    }

    /// Groups of several nodes that the other plan does not have.
    pub fn groups_not_in(&self, other: &FusionPlan) -> Vec<String> {
        let mut groups = Vec::new();
        for (position, (_, ours)) in self.graphs.iter().enumerate() {
            let theirs: BTreeSet<&Vec<String>> = match other.graphs.get(position) {
                Some((_, groups)) => groups.iter().collect(),
                None => BTreeSet::new(),
            };
            let own = |group: &&Vec<String>| group.len() > 1 && !theirs.contains(group);
            groups.extend(ours.iter().filter(own).map(|group| group_text(group)));
        }
        groups
    }
}

/// Why a text is no fusion plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FusionPlanError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for FusionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, groups) in &self.graphs {
            writeln!(f, "graph {}", word(name))?;
            for group in groups {
                writeln!(f, "  {}", group_text(group))?;
            }
        }
        Ok(())
    }
}

/// A group on one line.
pub(super) fn group_text(group: &[String]) -> String {
    let words: Vec<String> = group.iter().map(|label| word(label)).collect();
    words.join(" + ")
}

/// A name as it is, or quoted where it could be read as something else.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./:-#@$[]()<>".contains(c);
    if !name.is_empty() && name != "graph" && name.chars().all(plain) {
        return name.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl FromStr for FusionPlan {
    type Err = FusionPlanError;

    fn from_str(text: &str) -> Result<FusionPlan, FusionPlanError> {
        let mut plan = FusionPlan::default();
        for (position, line) in text.lines().enumerate() {
            let fail = |reason: String| FusionPlanError {
                line: position + 1,
                reason,
            };
            let words = words(line).map_err(fail)?;
            match words.as_slice() {
                [] => {}
                [(graph, false), (name, _)] if graph == "graph" => {
                    plan.graphs.push((name.clone(), Vec::new()));
                }
                words => {
                    let (_, groups) = plan
                        .graphs
                        .last_mut()
                        .ok_or_else(|| fail("want \"graph NAME\" before its groups".to_owned()))?;
                    groups.push(group(words).map_err(fail)?);
                }
            }
        }
        Ok(plan)
    }
}

/// The words of a line, each with whether it was quoted.
fn words(line: &str) -> Result<Vec<(String, bool)>, String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ';' => break,
            c if c.is_whitespace() => {
                chars.next();
            }
            '"' => {
                chars.next();
                words.push((quoted(&mut chars)?, true));
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != ';') {
                    word.push(c);
                }
                words.push((word, false));
            }
        }
    }
    Ok(words)
}

/// The rest of a quoted name.
fn quoted(chars: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let unclosed = || "a name is not closed".to_owned();
    let mut name = String::new();
    loop {
        match chars.next().ok_or_else(unclosed)? {
            '"' => return Ok(name),
            '\\' => match chars.next().ok_or_else(unclosed)? {
                'u' => {
                    let digits: String = chars.take_while(|c| *c != '}').skip(1).collect();
                    let code = u32::from_str_radix(&digits, 16).ok();
                    let c = code.and_then(char::from_u32);
                    name.push(c.ok_or_else(|| format!("{digits:?} is no character"))?);
                }
                c => name.push(c),
            },
            c => name.push(c),
        }
    }
}

fn group(words: &[(String, bool)]) -> Result<Vec<String>, String> {
    let is_plus = |(word, quoted): &(String, bool)| word == "+" && !quoted;
    let mut labels = Vec::new();
    for (position, word) in words.iter().enumerate() {
        if is_plus(word) != (position % 2 == 1) {
            return Err("want NAME + NAME + ..".to_owned());
        }
        if !is_plus(word) {
            labels.push(word.0.clone());
        }
    }
    if words.last().is_none_or(is_plus) {
        return Err("a name is missing after +".to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_print_and_parse_back() {
        let group = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let plan = FusionPlan {
            graphs: vec![
                (
                    "main graph".to_owned(),
                    vec![
                        group(&["a", "node 7", "b+c", "say \"x\\y\"\n"]),
                        group(&["+"]),
                    ],
                ),
                (String::new(), vec![group(&["graph", "/layer.0/Add#2"])]),
            ],
        };
        let text = plan.to_string();
        assert_eq!(text.parse(), Ok(plan), "{text}");
        let commented: FusionPlan = "; two\n\ngraph g ; of\n  a + b ; these\n".parse().unwrap();
        assert_eq!(commented.graphs[0].1, [group(&["a", "b"])]);
    }

    #[test]
    fn the_line_of_an_error_is_told() {
        for (text, line) in [
            ("a + b", 1),
            ("graph g\na b", 2),
            ("graph g\na +", 2),
            ("graph g\n\n\"a", 3),
            ("graph g\n\"\\u{fffffff}\"", 2),
        ] {
            let error = text.parse::<FusionPlan>().unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
    }
}
