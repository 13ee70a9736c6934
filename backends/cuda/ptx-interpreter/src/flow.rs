//! Where the lanes of a branch meet again: immediate post-dominators of the control-flow graph.

use crate::program::{Instruction, Op};

/// Successors of an instruction; `code.len()` is the exit.
fn successors(code: &[Instruction], at: usize) -> [Option<usize>; 2] {
    let guarded = code[at].guard.is_some();
    let next = guarded.then_some(at + 1);
    match code[at].op {
        Op::Branch { target, .. } => [Some(target as usize), next],
        Op::Exit | Op::Trap => [Some(code.len()), next],
        _ => [Some(at + 1), None],
    }
}

/// For each instruction, its immediate post-dominator; `code.len()` where lanes meet only at the
/// exit. Only the entries of branches are meaningful to the executor.
///
/// This is the iterative dominator algorithm of Cooper, Harvey and Kennedy on the reversed graph.
pub(crate) fn reconvergence(code: &[Instruction]) -> Vec<u32> {
    let exit = code.len();
    let mut predecessors = vec![Vec::new(); exit + 1];
    for at in 0..exit {
        for next in successors(code, at).into_iter().flatten() {
            predecessors[next].push(at);
        }
    }
    // Post-order of the reversed graph, from the exit.
    let mut order = vec![usize::MAX; exit + 1];
    let mut sequence = Vec::with_capacity(exit + 1);
    let mut visited = vec![false; exit + 1];
    let mut stack = vec![(exit, 0)];
    visited[exit] = true;
    while let Some((node, edge)) = stack.pop() {
        if let Some(&from) = predecessors[node].get(edge) {
            stack.push((node, edge + 1));
            if !visited[from] {
                visited[from] = true;
                stack.push((from, 0));
            }
        } else {
            order[node] = sequence.len();
            sequence.push(node);
        }
    }
    // Nodes that never reach the exit (endless loops) keep the exit as their meeting point.
    let mut meets = vec![usize::MAX; exit + 1];
    meets[exit] = exit;
    let mut changed = true;
    while changed {
        changed = false;
        for &node in sequence.iter().rev().filter(|node| **node != exit) {
            let mut found = usize::MAX;
            for next in successors(code, node).into_iter().flatten() {
                if meets[next] == usize::MAX {
                    continue;
                }
                found = if found == usize::MAX {
                    next
                } else {
                    join(&meets, &order, found, next)
                };
            }
            if meets[node] != found {
                meets[node] = found;
                changed = true;
            }
        }
    }
    meets.truncate(exit);
    meets
        .into_iter()
        .map(|meet| if meet == usize::MAX { exit } else { meet } as u32)
        .collect()
}

fn join(meets: &[usize], order: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while order[a] < order[b] {
            a = meets[a];
        }
        while order[b] < order[a] {
            b = meets[b];
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use crate::module::Module;

    /// Where the branches of a body meet, in source order.
    fn meets(body: &str) -> Vec<u32> {
        let text = format!(".entry k() {{ .reg .pred %p; {body} }}");
        let module = Module::parse(&text).expect("the body parses");
        let kernel = &module.kernels()[0];
        let branches = kernel.code.iter().zip(&kernel.reconverge);
        branches
            .filter(|(code, _)| code.guard.is_some())
            .map(|(_, meet)| *meet)
            .collect()
    }

    #[test]
    fn lanes_meet_after_both_arms() {
        // 0: branch, 1: then, 2: jump, 3: else, 4: end.
        assert_eq!(
            meets("@%p bra e; membar.gl; bra o; e: membar.gl; o: ret;"),
            [4]
        );
    }

    #[test]
    fn lanes_of_a_loop_meet_behind_it() {
        assert_eq!(meets("l: membar.gl; @%p bra l; ret;"), [2]);
    }

    #[test]
    fn an_arm_behind_the_exit_still_meets() {
        // 0: branch, 1: meeting point, 2: exit, 3: cold arm, 4: jump back.
        assert_eq!(
            meets("@%p bra c; b: membar.gl; ret; c: membar.gl; bra b;"),
            [1]
        );
    }

    #[test]
    fn an_early_exit_leaves_the_rest_to_meet_at_the_end() {
        // Three instructions and the implicit exit: nothing but the end is common.
        assert_eq!(meets("@%p ret; membar.gl; ret;"), [4]);
    }

    #[test]
    fn an_endless_loop_has_no_meeting_point() {
        assert_eq!(meets("@%p bra e; l: bra l; e: ret;"), [2]);
        assert_eq!(meets("l: @%p bra l; m: bra m;"), [3]);
    }
}
