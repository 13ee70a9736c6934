//! Resolving the axes of a contraction to a product that the micro-kernels take.

use std::collections::BTreeSet;

use alula_kernel::{Contract, Role, VarId};
use alula_microkernel::BlockLimit;
use alula_program::{KernelParam, ParamAccess};
use alula_tensor::{DType, Dim, Symbol};
use thiserror::Error;

use super::axes::{Maps, collapse, unit};
use super::choice::{Wanted, choose};
use super::product::channels_are_last;
use super::tile::{self, TileAxes, TileEpilogue};
use super::window::{self, WindowAxis};
use super::{
    AxisMap, CpuContract, DepthwiseMap, Epilogue, Form, Product, WindowMap, fused, integer,
};

/// Where elements of a tensor are.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Distance of neighbours along each axis, in elements, outermost axis first.
    pub strides: Vec<Dim>,
    /// Number of elements of the buffer.
    pub elements: Dim,
}

impl Layout {
    /// Row-major, innermost axis last.
    pub fn row_major(shape: &[Dim]) -> Layout {
        let mut strides = vec![Dim::new(1); shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].clone() * shape[axis].clone();
        }
        Layout {
            strides,
            elements: shape.iter().cloned().product(),
        }
    }
}

/// Why a contraction does not fit the micro-kernels. Its naive form does for those.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the micro-kernels do not take this contraction: {reason}")]
pub struct NotSupported {
    /// The fact that stands in the way.
    pub reason: String,
}

impl NotSupported {
    pub(super) fn new(reason: impl Into<String>) -> NotSupported {
        NotSupported {
            reason: reason.into(),
        }
    }
}

/// Plans a contraction. `layouts` are those of the epilogue's operands, in order; `result` is that
/// of the result; `wanted` says what may run. An epilogue that is not built in comes back as the
/// definition of a tile.
///
/// # Errors
/// [`NotSupported`] for other dtypes than `f32` and bytes that are summed in `i32`, zero points of
/// floats, more than two padded axes, sides walked backwards, and summed or column axes that no
/// constant stride walks.
///
/// # Panics
/// When the number of layouts or strides does not fit the contraction: a caller's bug.
pub fn plan_contract(
    contract: &Contract,
    layouts: &[Layout],
    result: &Layout,
    wanted: Wanted,
) -> Result<(CpuContract, Option<TileEpilogue>), NotSupported> {
    let operands = &contract.epilogue.operands;
    assert_eq!(layouts.len(), operands.len(), "one layout per operand");
    for (layout, operand) in layouts.iter().zip(operands) {
        assert_eq!(
            layout.strides.len(),
            operand.shape.len(),
            "one stride per axis"
        );
    }
    let is_integer = check_dtypes(contract)?;
    let mut window = window::find(contract)?;
    let is_padded = !contract.a.padded.is_empty();
    if window.len() > 2 {
        if is_padded {
            return Err(NotSupported::new("more than two padded axes"));
        }
        window.clear();
    }
    let depthwise = is_depthwise(contract, &window);
    if !is_padded && !depthwise {
        window.clear();
    }
    let skip: Vec<usize> = window.iter().filter_map(|axis| axis.axis).collect();
    let mut maps = Maps::new(contract, layouts, result, &skip);
    if maps
        .a
        .terms
        .values()
        .chain(maps.b.terms.values())
        .any(is_backward)
    {
        return Err(NotSupported::new("a side is walked backwards"));
    }
    let fused = match is_integer {
        true => None,
        false => fused::find(&maps, layouts).filter(|fused| !depthwise || by_channel(&maps, fused)),
    };
    if let Some(fused) = &fused {
        maps.bias = fused.bias.clone();
    }
    let a_layout = &layouts[contract.a.operand as usize];
    let (form, axes) = if depthwise {
        depthwise_form(&maps, &window, a_layout)?
    } else {
        product_form(&maps, &window, a_layout)?
    };
    let (epilogue, tile) = match fused {
        Some(fused) => (fused.epilogue, None),
        None => {
            let place = is_integer.then(|| integer::place(&form));
            let tile = tile::compute(contract, layouts, &axes, place);
            (
                Epilogue::Tile {
                    operands: tile.operands.clone(),
                },
                Some(tile),
            )
        }
    };
    let (isa, products) = choose(&form, wanted, is_integer);
    let planned = CpuContract {
        isa,
        products,
        limit: BlockLimit::default(),
        form,
        a: contract.a.operand,
        b: contract.b.operand,
        a_dtype: operands[contract.a.operand as usize].dtype,
        b_dtype: operands[contract.b.operand as usize].dtype,
        a_zero: contract.a.zero_point,
        b_zero: contract.b.zero_point,
        result: is_integer.then_some(contract.epilogue.dtype),
        epilogue,
        params: params(contract, layouts, result),
        symbols: symbols(contract, layouts, result),
    };
    Ok((planned, tile))
}

fn params(contract: &Contract, layouts: &[Layout], result: &Layout) -> Vec<KernelParam> {
    let epilogue = &contract.epilogue;
    let dtypes = epilogue.operands.iter().map(|operand| operand.dtype);
    let operands = dtypes.zip(layouts).map(|pair| (pair, ParamAccess::Read));
    operands
        .chain([((epilogue.dtype, result), ParamAccess::Write)])
        .map(|((dtype, layout), access)| {
            let bytes = layout.elements.clone() * Dim::from(dtype.size_bytes());
            KernelParam { access, bytes }
        })
        .collect()
}

fn symbols(contract: &Contract, layouts: &[Layout], result: &Layout) -> Vec<Symbol> {
    let mut symbols = BTreeSet::new();
    for layout in layouts.iter().chain([result]) {
        layout.elements.collect_symbols(&mut symbols);
        layout
            .strides
            .iter()
            .for_each(|stride| stride.collect_symbols(&mut symbols));
    }
    let pool = &contract.epilogue.pool;
    for axis in &contract.axes {
        pool.extent(axis.var).collect_symbols(&mut symbols);
    }
    for operand in &contract.epilogue.operands {
        operand
            .shape
            .iter()
            .for_each(|dim| dim.collect_symbols(&mut symbols));
    }
    for index in contract
        .a
        .index
        .iter()
        .chain(&contract.b.index)
        .chain(&contract.out)
    {
        index.offset.collect_symbols(&mut symbols);
        index
            .terms
            .values()
            .for_each(|factor| factor.collect_symbols(&mut symbols));
    }
    symbols.into_iter().collect()
}

/// Whether a stride is less than 0: micro-kernels reach forward only.
fn is_backward(stride: &Dim) -> bool {
    !stride.is(0) && (Dim::new(0) - stride.clone()).is_nonnegative()
}

/// Whether it is one of bytes, and else one of floats.
fn check_dtypes(contract: &Contract) -> Result<bool, NotSupported> {
    let operands = &contract.epilogue.operands;
    let sides = [&contract.a, &contract.b].map(|side| operands[side.operand as usize].dtype);
    if !contract.b.padded.is_empty() {
        return Err(NotSupported::new("the right side is padded"));
    }
    let are_bytes = sides
        .iter()
        .all(|dtype| matches!(dtype, DType::I8 | DType::U8));
    if are_bytes && contract.acc == DType::I32 {
        return Ok(true);
    }
    let all = [sides[0], sides[1], contract.acc, contract.epilogue.dtype];
    if all != [DType::F32; 4] {
        let [a, b, acc, result] = all;
        let what = format!("{a} times {b} summed in {acc} to {result}");
        return Err(NotSupported::new(what));
    }
    if contract.a.zero_point.is_some() || contract.b.zero_point.is_some() {
        return Err(NotSupported::new("zero points of floats"));
    }
    Ok(false)
}

/// Whether each channel of the left side meets only its own filter.
fn is_depthwise(contract: &Contract, window: &[WindowAxis]) -> bool {
    let pool = &contract.epilogue.pool;
    let wide = |role| {
        let mut vars = contract.axes_of(role);
        vars.retain(|&var| !pool.extent(var).is(1));
        vars
    };
    let taps: Vec<VarId> = window.iter().filter_map(|axis| axis.tap).collect();
    (1..=2).contains(&window.len())
        && wide(Role::Batch).len() == 1
        && wide(Role::N).is_empty()
        && wide(Role::K).iter().all(|var| taps.contains(var))
        && !taps.is_empty()
}

/// Whether a bias has one value for each channel of a depthwise convolution.
fn by_channel(maps: &Maps<'_>, fused: &fused::Fused) -> bool {
    let channel = maps.vars(Role::Batch)[0];
    match &fused.epilogue {
        Epilogue::Fused { bias: Some(_), .. } => fused.bias.coefficient(channel).is(1),
        Epilogue::Fused { bias: None, .. } | Epilogue::Tile { .. } => true,
    }
}

/// The window's height and width, and what is left of the rows: one axis of images or none.
fn window_map(
    maps: &Maps<'_>,
    window: &[WindowAxis],
    layout: &Layout,
) -> Result<(WindowMap, [WindowAxis; 2], Option<VarId>), NotSupported> {
    let [h, w] = match window {
        [w] => [WindowAxis::trivial(), w.clone()],
        [h, w] => [h.clone(), w.clone()],
        _ => return Err(NotSupported::new("a window of more than two axes")),
    };
    let mut images = maps.vars(Role::M);
    images.retain(|&var| h.position != Some(var) && w.position != Some(var));
    if images.len() > 1 {
        return Err(NotSupported::new("several axes of images"));
    }
    let image = images.first().copied();
    let both = |f: &dyn Fn(&WindowAxis) -> Dim| [f(&h), f(&w)];
    let contract = maps.contract;
    let map = WindowMap {
        images: WindowAxis::extent(contract, image),
        input: both(&|axis| axis.input(contract)),
        out: both(&|axis| WindowAxis::extent(contract, axis.position)),
        kernel: both(&|axis| WindowAxis::extent(contract, axis.tap)),
        stride: both(&|axis| axis.stride.clone()),
        dilation: both(&|axis| axis.dilation.clone()),
        pad: both(&|axis| axis.pad.clone()),
        strides: [
            image.map_or(Dim::new(0), |var| maps.a.coefficient(var)),
            h.step(layout),
            w.step(layout),
        ],
    };
    Ok((map, [h, w], image))
}

fn depthwise_form(
    maps: &Maps<'_>,
    window: &[WindowAxis],
    layout: &Layout,
) -> Result<(Form, TileAxes), NotSupported> {
    let (map, [h, w], image) = window_map(maps, window, layout)?;
    let channel = maps.vars(Role::Batch)[0];
    let of = |map: &alula_kernel::Affine, var: Option<VarId>| {
        var.map_or(Dim::new(0), |var| map.coefficient(var))
    };
    let one = Dim::new(1);
    let filter_w = if map.kernel[1].is(1) {
        one
    } else {
        of(&maps.b, w.tap)
    };
    let (kw, kh) = (map.kernel[1].clone(), map.kernel[0].clone());
    let filter_h = if kh.is(1) {
        kw.clone()
    } else {
        of(&maps.b, h.tap)
    };
    let filter = [maps.b.coefficient(channel), filter_h, filter_w];
    if filter != [kw.clone() * kh, kw, Dim::new(1)] {
        return Err(NotSupported::new(
            "filters of a depthwise convolution are not dense",
        ));
    }
    let channels = [maps.a.coefficient(channel), maps.c.coefficient(channel)];
    let out = [
        of(&maps.c, image),
        of(&maps.c, h.position),
        of(&maps.c, w.position),
    ];
    let last = channels_are_last(&channels);
    // A row of one column has any stride.
    let adjacent = |stride: &Dim, extent: &Dim| stride.is(1) || extent.is(1);
    let columns = adjacent(&map.strides[2], &map.input[1]) && adjacent(&out[2], &map.out[1]);
    if !last && !columns {
        return Err(NotSupported::new(
            "neither channels nor columns are adjacent",
        ));
    }
    let positions = [image, h.position].into_iter().flatten();
    let axes = if last {
        TileAxes {
            batch: Vec::new(),
            rows: positions.chain(w.position).collect(),
            cols: vec![channel],
        }
    } else {
        let rows = image
            .into_iter()
            .chain([channel])
            .chain(h.position)
            .collect();
        TileAxes {
            batch: Vec::new(),
            rows,
            cols: w.position.into_iter().collect(),
        }
    };
    let form = Form::Depthwise(DepthwiseMap {
        channels: maps.extent(channel).clone(),
        window: map,
        channel: channels,
        out,
        filter,
        offsets: offsets(maps),
    });
    Ok((form, axes))
}

fn product_form(
    maps: &Maps<'_>,
    window: &[WindowAxis],
    layout: &Layout,
) -> Result<(Form, TileAxes), NotSupported> {
    let (mut rows, mut sums) = (maps.vars(Role::M), maps.vars(Role::K));
    let (mut map, mut of_window) = (None, [None, None]);
    let mut taps: Vec<AxisMap> = Vec::new();
    if !window.is_empty() {
        let (found, [h, w], image) = window_map(maps, window, layout)?;
        let tap_vars = [h.tap, w.tap];
        of_window = tap_vars;
        sums.retain(|&var| !tap_vars.contains(&Some(var)));
        for tap in tap_vars {
            taps.push(tap.map_or_else(unit, |var| maps.axis(var)));
        }
        rows = [image, h.position, w.position]
            .into_iter()
            .flatten()
            .collect();
        map = Some(found);
    }
    let mut depth = collapse(sums.iter().map(|&var| maps.axis(var)).collect());
    let mut depth = if map.is_some() {
        match depth.len() {
            0 => unit(),
            1 => depth.remove(0),
            _ => return Err(NotSupported::new("several summed axes beside the window")),
        }
    } else {
        // The last one: of a window that reaches beyond an image of one column, several are.
        let inner = depth.iter().rposition(|axis| axis.a.is(1));
        let inner = inner.or_else(|| greatest(&depth));
        let own = inner.map_or_else(unit, |inner| depth.remove(inner));
        // Taps are a list, so that any order does; this one has a constant stride in weights.
        depth.sort_by_key(|axis| std::cmp::Reverse(axis.b.as_const().unwrap_or(i64::MAX)));
        taps = depth;
        own
    };
    let is_copied = maps.contract.acc == DType::F32
        && maps.vars(Role::Batch).is_empty()
        && map.as_ref().is_some_and(|map| is_copied(map, &depth));
    if is_copied {
        let [h, w] = of_window.map(|tap| tap.map_or_else(unit, |var| maps.axis(var)));
        taps = vec![std::mem::replace(&mut depth, w), h];
    }
    let cols = maps.vars(Role::N);
    let form = Form::Product(Product {
        batch: maps
            .vars(Role::Batch)
            .iter()
            .map(|&var| maps.axis(var))
            .collect(),
        rows: rows.iter().map(|&var| maps.axis(var)).collect(),
        cols: collapse(cols.iter().map(|&var| maps.axis(var)).collect()),
        taps,
        depth,
        window: map,
        is_copied,
        offsets: offsets(maps),
    });
    let axes = TileAxes {
        batch: maps.vars(Role::Batch),
        rows,
        cols,
    };
    Ok((form, axes))
}

/// Most channels times rows of a window over a padded copy.
const COPIED_TAPS: i64 = 64;

/// Whether a window is to slide over a padded copy: its channels are few and not adjacent.
fn is_copied(window: &WindowMap, channels: &AxisMap) -> bool {
    let [height, width] = &window.kernel;
    let taps = channels.extent.clone() * height.clone();
    let adjacent = channels.a.is(1) && !channels.extent.is(1);
    !adjacent
        && window.strides[2].is(1)
        && width.as_const().is_some_and(|width| width > 1)
        && taps
            .as_const()
            .is_some_and(|taps| (1..=COPIED_TAPS).contains(&taps))
}

/// The longest axis, as far as extents are known; the last of equals.
fn greatest(axes: &[AxisMap]) -> Option<usize> {
    let extent = |axis: &AxisMap| axis.extent.as_const().unwrap_or(i64::MAX);
    axes.iter()
        .enumerate()
        .max_by_key(|(_, axis)| extent(axis))
        .map(|(position, _)| position)
}

fn offsets(maps: &Maps<'_>) -> [Dim; 3] {
    [&maps.a, &maps.b, &maps.c].map(|map| map.offset.clone())
}
