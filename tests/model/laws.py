"""Laws that hold for a decoder with any memory."""

import torch


def changing_the_future_changes_no_logit(read, model, tokens):
    """`read(model, tokens, length of a segment)` gives logits (2, n, V); tokens are under 50."""
    changed = tokens.clone()
    changed[:, 61:] = (changed[:, 61:] + 1) % 50
    with torch.no_grad():
        a, b = read(model, tokens, 9), read(model, changed, 9)
    assert torch.equal(a[:, :61], b[:, :61]) and not torch.equal(a[:, 61:], b[:, 61:])


def lanes_do_not_leak(read, model, tokens):
    """The other lane's tokens change nothing here."""
    changed = tokens.clone()
    changed[1] = (changed[1] + 1) % 50
    with torch.no_grad():
        a, b = read(model, tokens, 9), read(model, changed, 9)
    assert torch.equal(a[0], b[0])


def detach_lets_training_go_on(model, tokens):
    """Two segments' loss goes backward, again and again, through pairs that were detached."""
    state = model.new_state(2, grad_segments=2)
    for i in range(0, 96, 32):
        losses = []
        for j in (i, i + 16):
            out = model(tokens[:, j : j + 16], state)
            state.advance(out)
            losses.append(out.logits.logsumexp(-1).mean())
        sum(losses).backward()
        state.detach()
