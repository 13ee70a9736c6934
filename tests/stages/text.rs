//! Graphs to graphs: what inference says of each value, and what composite operators are made of.

use alula_ir::{Graph, Origin, parse};
use alula_lower::expand;
use alula_lower::plan::LowerOptions;
use alula_ops::registry;
use alula_opt::{Options, optimize};

pub(crate) fn graph(text: &str) -> Result<Graph, String> {
    let graph = parse(text, registry(), &|_| None).map_err(|error| error.to_string())?;
    graph.verify().map_err(|errors| format!("{errors:?}"))?;
    Ok(graph)
}

/// The graph with its types, known elements, and what gives symbols their values.
pub(crate) fn infer(text: &str) -> Result<String, String> {
    let graph = graph(text)?;
    let mut shown = graph.to_string();
    for (id, value) in graph.values() {
        if let Some(content) = &value.content
            && graph.producer(id).is_some()
        {
            let name = value.name.clone().unwrap_or_default();
            let dims: Vec<String> = content.iter().map(ToString::to_string).collect();
            shown.push_str(&format!("elements of {name}: [{}]\n", dims.join(", ")));
        }
    }
    for (symbol, origin) in graph.origins() {
        let from = match origin {
            Origin::Input { .. } => continue,
            Origin::Content { index, .. } => format!("element {index} of a value"),
            Origin::Extent { axis, .. } => format!("extent of axis {axis} of a value"),
            Origin::Defined(dim) => dim.to_string(),
        };
        shown.push_str(&format!("{symbol} is {from}\n"));
    }
    Ok(shown)
}

/// The graph after the whole pipeline, and how often which rule fired.
pub(crate) fn optimized(text: &str) -> Result<String, String> {
    let mut graph = graph(text)?;
    let options = Options {
        verify: true,
        ..Options::default()
    };
    let report = optimize(&mut graph, &options).map_err(|error| error.to_string())?;
    let mut shown = graph.to_string();
    for (rule, count) in report.fires {
        shown.push_str(&format!("{rule} x{count}\n"));
    }
    if report.folded_nodes > 0 {
        let (nodes, bytes) = (report.folded_nodes, report.folded_bytes);
        shown.push_str(&format!("{nodes} nodes folded into {bytes} bytes\n"));
    }
    Ok(shown)
}

/// Recurrent weights of four rows and columns are large to a test.
const LOOP_BYTES_MIN: usize = 64;

/// The graph of operators that have a kernel.
pub(crate) fn expanded(text: &str) -> Result<String, String> {
    let mut graph = graph(text)?;
    let options = LowerOptions {
        loop_bytes_min: Some(LOOP_BYTES_MIN),
        ..LowerOptions::default()
    };
    expand(&mut graph, &options).map_err(|error| error.to_string())?;
    graph.verify().map_err(|errors| format!("{errors:?}"))?;
    Ok(graph.to_string())
}
