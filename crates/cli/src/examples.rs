//! What `--help` shows beneath the options: what the verbs are for, by example.

pub(crate) const ALL: &str = "\
Examples:
  alula check model.onnx                         is everything in it supported?
  alula run model.onnx --random 1                run it on made-up inputs
  alula run model.onnx --input x=x.npy --output-dir out
  alula compile model.onnx -o model.alula --target cpu,wgpu
  alula bench model.onnx --threads 1 --json
  alula tune model.onnx --threads 1              then --table model.tuned.json
  alula compare model.onnx --targets reference,cpu

Data go to stdout, everything else to stderr.
Exit codes: 0 done, 1 wrong use or input, 2 unsupported, 3 results differ, 4 failure of Alula.";

pub(crate) const COMPILE: &str = "\
Examples:
  alula compile model.onnx                       model.alula, for this machine's processor
  alula compile model.onnx --dim batch=1         a dim that is known makes better code
  alula compile model.onnx --target cpu,wgpu,cuda -o all.alula
  alula compile model.onnx --emit opt            the graph after the rules, as text
  alula compile model.onnx --emit-dir stages     every stage, a file for each kernel
  alula compile model.onnx --emit fusion > plan  what fuses; edit it, then:
  alula compile model.onnx --fusion-plan plan

The artifact is one file: alula inspect shows what is in it, alula run runs it.";

pub(crate) const RUN: &str = "\
Examples:
  alula run model.onnx --random 1                made-up inputs, a line for each output
  alula run model.onnx --random 1 --shape x=1x3x480x640
  alula run model.alula --input x=x.npy --output-dir out
  alula run model.alula --input x=x.pb --output-dir out --output-format pb
  alula run model.onnx --random 1 --profile      what takes the time
  alula run model.alula --random 1 --verify      check all of the file first
  alula run model.alula --random 1 --deadline 0.5 --max-bytes 100000000

Inputs that are made up follow the example beside the model, if a manifest there has one.";

pub(crate) const BENCH: &str = "\
Examples:
  alula bench model.onnx --threads 1
  alula bench model.onnx --fusion all            which strategy is the fastest, and what differs
  alula bench model.onnx --target cpu,wgpu --json
  alula bench model.alula --dim batch=8          an artifact, at an extent that it left open
  alula bench model.onnx --profile               what takes the time once memory is warm

Times are of one run with inputs and outputs in memory; compile, load and first run are apart.";

pub(crate) const TUNE: &str = "\
Examples:
  alula tune model.onnx --threads 1              fills model.tuned.json, or goes on with it
  alula tune model.onnx --budget 600 --table this-cpu.json
  alula tune model.onnx --precision high --dim batch=8
  alula compile model.onnx --table model.tuned.json
  alula bench model.onnx --threads 1 --table model.tuned.json

Measured is the model itself: what fuses and how buffers lie, then which micro-kernels and blocks
contractions take, in programs that run in turns. A choice is taken only if it is faster, in two
trials, by more than 2 % and the noise of these trials. With one thread, whole runs count by their
processor time. Results stay within the precision; their last bits may change. The table holds for
one CPU and one number of threads, and serves any model that has the same contractions.";

pub(crate) const CHECK: &str = "\
Examples:
  alula check model.onnx                         every node that is not supported, and why
  alula check model.onnx --dim N=1               some models are clear once a dim is
  alula check model.onnx --json

With --json the last line sums up: {\"model\": .., \"supported\": .., \"unsupported\": ..}.";

pub(crate) const COMPARE: &str = "\
Examples:
  alula compare model.onnx                       the processor against the reference
  alula compare model.onnx --targets cpu,wgpu --bound 1e-3
  alula compare model.onnx --input x=x.npy

If they differ, alula debug bisect finds out whether a rewrite is to blame.";

pub(crate) const EXPLAIN: &str = "\
Examples:
  alula explain model.onnx                       rules that fired, what fused, what did not and why
  alula explain model.onnx --near-misses         where a rule all but matched, and what was missing
  alula explain model.onnx --fusion none --json
  alula explain model.onnx --precision high      what was used, and why no other";

pub(crate) const INSPECT: &str = "\
Examples:
  alula inspect model.onnx                       inputs, outputs, operators, opsets
  alula inspect model.alula                      targets, features, sections; all of it is verified
  alula inspect model.alula --json";

pub(crate) const OPT: &str = "\
Examples:
  alula compile model.onnx --emit import > model.ir
  alula opt model.ir                             the whole pipeline
  alula opt model.ir --rule fold_batch_norm_into_conv
  alula opt model.ir --parse-only                is it a graph that verifies?
  alula opt stages/wgpu/legal/0000-softmax.txt --target wgpu";

pub(crate) const BISECT: &str = "\
Examples:
  alula debug bisect model.onnx                  which rewrites change an output by more than 1e-4
  alula debug bisect model.onnx --bound 0        which change a single bit
  alula debug bisect model.onnx --target reference --input x=x.npy

The outputs are compared with those of the same target when nothing is rewritten. Exit code 3 if
something is to blame, 0 if nothing is.";
