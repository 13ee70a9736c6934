//! The search with times that are made up, and choices that do not fit.

mod files;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alula_cpu::CpuDevice;
use alula_runtime::SessionOptions;
use alula_tensor::{Tensor, Value};

use super::*;
use crate::compile::{Choices, CompileError, CompileOptions, Compiled, Decisions, compile};
use crate::{Error, ErrorKind, Precision, Target};

const TEXT: &str = "graph @two(%x: f32[300, 64], %w: f32[64, 200], %v: f32[200, 260]) {
    %a = matmul %x, %w
    %b = relu %a
    %c = matmul %b, %v
    return y: %c
}";

fn compiled(choices: Option<&Choices>, precision: Precision) -> Result<Compiled, CompileError> {
    let graph = alula_ir::parse(TEXT, alula_ops::registry(), &|_| None).expect("a graph");
    let options = CompileOptions {
        choices: choices.map(|choices| Arc::new(choices.clone())),
        precision,
        ..CompileOptions::default()
    };
    compile(graph, Target::Cpu, &options)
}

/// Times that are made up: by the words of choices, with noise by the number of the run.
struct Fake {
    graph_ms: fn(&str) -> f64,
    contraction_ms: fn(&str) -> f64,
    noise: fn(usize) -> f64,
    runs: usize,
    clock: Duration,
    /// Which program ran, run by run.
    order: Vec<usize>,
    prepared: usize,
}

impl Fake {
    fn new(graph_ms: fn(&str) -> f64, contraction_ms: fn(&str) -> f64) -> Fake {
        Fake {
            graph_ms,
            contraction_ms,
            noise: |_| 1.0,
            runs: 0,
            clock: Duration::ZERO,
            order: Vec::new(),
            prepared: 0,
        }
    }
}

impl Bench for Fake {
    type Subject = (usize, Decisions);

    fn prepare(&mut self, choices: &Choices) -> Result<(Self::Subject, Decisions), Error> {
        let decisions = compiled(Some(choices), Precision::Highest)?.decisions;
        self.prepared += 1;
        Ok(((self.prepared, decisions.clone()), decisions))
    }

    fn run(&mut self, subject: &Self::Subject, kernels: bool) -> Result<Times, Error> {
        let (number, decisions) = subject;
        self.order.push(*number);
        self.runs += 1;
        let noise = (self.noise)(self.runs);
        let graph = decisions.graph.as_ref().expect("nobody named a strategy");
        let mut times = Times {
            total_ms: (self.graph_ms)(&graph.choice.to_string()) * noise,
            kernels_ms: Vec::new(),
        };
        if kernels {
            let last = decisions.contractions.iter().map(|site| site.kernel).max();
            times.kernels_ms = vec![0.0; last.map_or(0, |last| last + 1)];
            for site in &decisions.contractions {
                let ms = (self.contraction_ms)(&site.choice.to_string());
                times.kernels_ms[site.kernel] = ms * noise;
            }
        }
        self.clock += Duration::from_millis(100);
        Ok(times)
    }

    fn fingerprint(&self, (_, decisions): &Self::Subject) -> [u8; 32] {
        // As if layouts made no difference where all fuses.
        let graph = decisions.graph.as_ref().expect("nobody named a strategy");
        let graph = graph
            .choice
            .to_string()
            .replace("auto, row-major", "auto, channels-last");
        let contractions = decisions
            .contractions
            .iter()
            .map(|site| site.choice.to_string());
        let words: Vec<String> = contractions.chain([graph]).collect();
        *blake3::hash(words.join("\n").as_bytes()).as_bytes()
    }

    fn elapsed(&self) -> Duration {
        self.clock
    }
}

fn cpu() -> Cpu {
    Cpu {
        model: "Abacus 9".to_owned(),
        kernels: "portable".to_owned(),
        features: vec!["beads".to_owned()],
    }
}

const LONG: Duration = Duration::from_secs(1 << 20);

fn found(fake: &mut Fake, table: &mut Table, budget: Duration, seed: u64) -> Outcome {
    let options = Search {
        budget: fake.clock + budget,
        seed,
        threads: 1,
    };
    search(fake, table, &options, &mut |_, _| Ok(())).expect("searched")
}

fn chosen(table: &Table) -> BTreeSet<&str> {
    let entries = table.graphs.values().chain(table.contractions.values());
    entries.map(|entry| entry.chosen.as_str()).collect()
}

fn graph_ms(choice: &str) -> f64 {
    match choice {
        "epilogue, channels-last" => 8.0,
        "epilogue, row-major" => 7.0,
        // Within the margin of the one before.
        "none, row-major" => 6.95,
        _ => 10.0,
    }
}

fn contraction_ms(choice: &str) -> f64 {
    match choice.split_once(", ") {
        Some((_, "cols 128")) => 0.8,
        Some((_, "rows 32")) => 0.99,
        Some(_) => 1.2,
        None => 1.0,
    }
}

#[test]
fn what_is_faster_beyond_the_margin_is_taken() {
    let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    let outcome = found(&mut fake, &mut table, LONG, 0);
    assert!(outcome.is_complete);
    assert_eq!((outcome.graphs.len(), outcome.contractions.len()), (1, 2));
    let graph = &table.graphs[&outcome.graphs[0]];
    assert_eq!(graph.chosen, "epilogue, row-major");
    let same = &graph.trials[0];
    assert_eq!((same.choice.as_str(), same.rounds), ("auto, row-major", 0));
    assert!((graph.gain() - 10.0 / 7.0).abs() < 1e-5, "{}", graph.gain());
    for key in &outcome.contractions {
        let entry = &table.contractions[key];
        assert!(entry.chosen.ends_with(", cols 128"), "{entry:?}");
        assert!(entry.knows(&entry.chosen.replace("cols 128", "rows 32")));
        assert!((entry.gain() - 1.25).abs() < 1e-5, "{entry:?}");
    }
    let whole = outcome.whole.expect("choices are not the default");
    assert_eq!((whole.default_ms, whole.tuned_ms), (10.0, 7.0));
}

#[test]
fn noise_as_large_as_the_gain_chooses_nothing() {
    let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    // Long slow phases: some parts of the rounds never see a quiet one.
    fake.noise = |run| match run % 8 {
        1 | 2 => 1.0,
        _ => 2.0,
    };
    let outcome = found(&mut fake, &mut table, LONG, 0);
    assert!(outcome.is_complete && outcome.whole.is_none());
    let entries = table.graphs.values().chain(table.contractions.values());
    for entry in entries {
        assert_eq!(entry.chosen, entry.default);
        assert!(!entry.trials.is_empty() && entry.noise() > 0.5);
    }
}

#[test]
fn a_stopped_search_goes_on_where_it_was() {
    let (mut fake, mut whole) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    let at_once = found(&mut fake, &mut whole, LONG, 0);
    let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    let (mut searches, mut trials) = (0, 0);
    loop {
        // Time for a trial, or for some that are hopeless, and for part of another.
        let outcome = found(&mut fake, &mut table, Duration::from_secs(3), 0);
        assert!(outcome.trials <= 3, "{outcome:?}");
        (searches, trials) = (searches + 1, trials + outcome.trials);
        // What is in the file is all that is left of it.
        table = serde_json::from_str(&table.to_text()).expect("the text reads back");
        if outcome.is_complete {
            break;
        }
    }
    assert!(
        searches > 2 && trials == at_once.trials,
        "{searches}, {trials}"
    );
    assert_eq!(chosen(&table), chosen(&whole));
}

#[test]
fn no_budget_measures_nothing() {
    let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    let outcome = found(&mut fake, &mut table, Duration::ZERO, 0);
    assert_eq!(
        (outcome.is_complete, outcome.trials, fake.runs),
        (false, 0, 0)
    );
    assert_eq!(table, Table::new(cpu(), 1));
}

#[test]
fn the_seed_orders_the_runs() {
    let order = |seed| {
        let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
        found(&mut fake, &mut table, LONG, seed);
        fake.order
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn other_models_of_a_table_stay_in_it() {
    let (mut fake, mut table) = (Fake::new(graph_ms, contraction_ms), Table::new(cpu(), 1));
    let other = Entry::new("graph other", "auto, channels-last");
    table.graphs.insert("00".to_owned(), other.clone());
    found(&mut fake, &mut table, LONG, 0);
    assert_eq!((table.graphs.len(), &table.graphs["00"]), (2, &other));
}

#[test]
fn choices_that_may_not_be_taken_are_refused() {
    let sites = compiled(Some(&Choices::default()), Precision::Highest);
    let sites = sites.expect("compiled").decisions.contractions;
    let mut choices = Choices::default();
    let key = sites[1].key.clone();
    choices
        .contractions
        .insert(key.clone(), "one on amx".parse().expect("a choice"));
    let error = compiled(Some(&choices), Precision::Highest).expect_err("less exact than wanted");
    let text = error.to_string();
    assert!(
        text.contains(&key) && text.contains("one on amx is none of whole on"),
        "{text}"
    );
    assert_eq!(Error::from(error).kind(), ErrorKind::User);
    // At another precision it is another decision.
    compiled(Some(&choices), Precision::High).expect("nothing is listed for it");
}

#[test]
fn every_choice_gives_right_results() {
    let value = |shape: &[usize], step: usize| -> Value {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|k| (k * step % 17) as f32 / 8.0 - 1.0)
            .collect();
        Tensor::from_slice(shape, &values).expect("a shape").into()
    };
    let inputs = [
        value(&[300, 64], 7),
        value(&[64, 200], 5),
        value(&[200, 260], 3),
    ];
    let graph = alula_ir::parse(TEXT, alula_ops::registry(), &|_| None).expect("a graph");
    let wanted = alula_ops::evaluate(&graph, inputs.to_vec()).expect("evaluated");
    let wanted = wanted[0].as_tensor().expect("a tensor").to_f64s();
    let device = CpuDevice::new(2).expect("a device");
    let within = 0.01
        * wanted
            .iter()
            .fold(0.0, |most: f64, value| most.max(value.abs()));
    let check = |choices: &Choices| {
        let compiled = compiled(Some(choices), Precision::Medium).expect("compiled");
        assert_eq!(compiled.decisions.listed(), 1);
        let options = SessionOptions::default();
        let session = alula_runtime::Session::new(compiled.program, &device, options);
        let named: Vec<(&str, Value)> = ["x", "w", "v"].into_iter().zip(inputs.clone()).collect();
        let outputs = session.expect("loaded").run(&named).expect("run");
        let got = outputs[0].1.as_tensor().expect("a tensor").to_f64s();
        for (got, wanted) in got.iter().zip(&wanted) {
            assert!(
                (got - wanted).abs() <= within,
                "{choices:?}: {got}, not {wanted}"
            );
        }
    };
    let none = compiled(Some(&Choices::default()), Precision::Medium).expect("compiled");
    let decisions = none.decisions;
    let key = decisions.graph.expect("open").key;
    for choice in crate::compile::GraphChoice::all() {
        let graphs = [(key.clone(), choice)].into();
        check(&Choices {
            graphs,
            ..Choices::default()
        });
    }
    for site in &decisions.contractions {
        for kernels in &site.kernels {
            for choice in site.limits(*kernels, 2).into_iter().chain([*kernels]) {
                let contractions = [(site.key.clone(), choice)].into();
                check(&Choices {
                    contractions,
                    ..Choices::default()
                });
            }
        }
    }
}

#[test]
fn keys_follow_content_and_not_names() {
    let keys = |precision, from: &str, to: &str| {
        let text = TEXT.replace(from, to);
        let graph = alula_ir::parse(&text, alula_ops::registry(), &|_| None).expect("a graph");
        let options = CompileOptions {
            choices: Some(Arc::default()),
            precision,
            ..CompileOptions::default()
        };
        let decisions = compile(graph, Target::Cpu, &options)
            .expect("compiled")
            .decisions;
        let keys: Vec<String> = decisions
            .contractions
            .into_iter()
            .map(|site| site.key)
            .collect();
        keys
    };
    let plain = keys(Precision::Highest, "", "");
    assert_ne!(plain[0], plain[1]);
    assert_eq!(plain, keys(Precision::Highest, "%b", "%other"));
    assert_ne!(plain, keys(Precision::High, "", ""));
    let wider = keys(Precision::Highest, "260", "261");
    assert!(plain[0] == wider[0] && plain[1] != wider[1]);
}
