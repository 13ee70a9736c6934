//! The example model: compiling it, and running it on 64 images.

use std::path::Path;

use alula::{Fusion, Model, npy};
use criterion::{Criterion, criterion_group, criterion_main};

fn example(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits");
    let path = folder.join("digits.onnx");
    let images = npy::read(folder.join("test_images.npy")).expect("the images are committed");
    let compile = |fusion: Fusion| {
        Model::builder(&path)
            .fusion(fusion)
            .threads(1)
            .compile()
            .expect("the model compiles")
    };
    c.bench_function("compile", |b| b.iter(|| compile(Fusion::Auto)));
    for fusion in Fusion::ALL {
        let session = compile(fusion).session().expect("the program loads");
        let name = format!("run 64 images, fusion {fusion}");
        c.bench_function(&name, |b| {
            b.iter(|| {
                session
                    .run(&[("image", images.clone().into())])
                    .expect("runs")
            });
        });
    }
}

criterion_group!(benches, example);
criterion_main!(benches);
