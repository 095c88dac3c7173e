"""`memformer reward chain` says what holds and ends with a code that scripts can read."""

import json

from typer.testing import CliRunner

from memformer.cli import app
from memformer.reward import certificate


def few(monkeypatch, *, turned=False):
    """The certificate in a small world; with one check that does not hold, if turned."""
    from memformer.config.oracle import CertificateConfig, OracleConfig

    real = certificate.certify

    def small(world, config, *, seed):
        few = CertificateConfig(
            n_draw=config.n_draw, n_distil=400, temperatures=(1.0,), min_cosine=0.5
        )
        found = real(OracleConfig(n_token=3, n_symbol=4, n_word=4, max_len=3), few, seed=seed)
        broken = [check._replace(passed=False) for check in found.checks]
        return found._replace(checks=broken) if turned else found

    monkeypatch.setattr(certificate, "certify", small)


def test_certificate_is_printed_and_kept(monkeypatch, tmp_path):
    few(monkeypatch)
    out = tmp_path / "certificate.json"
    told = CliRunner().invoke(
        app, ["reward", "chain", "--certify", "--draws", "300", "--out", str(out)]
    )
    assert told.exit_code == 0, told.output
    assert "certificate: passed" in told.output and "RLOO" in told.output
    kept = json.loads(out.read_text(), parse_constant=lambda name: 1 / 0)  # no NaN, no Infinity
    assert kept["passed"] and {row["scorer"] for row in kept["rows"]} == {"mild", "steep"}


def test_a_rule_that_does_not_hold_ends_with_code_1(monkeypatch):
    few(monkeypatch, turned=True)
    told = CliRunner().invoke(app, ["reward", "chain", "--certify", "--draws", "300"])
    assert told.exit_code == 1 and "certificate: FAILED" in told.output


def test_chain_without_anything_to_do_says_so():
    told = CliRunner().invoke(app, ["reward", "chain"])
    assert told.exit_code == 1 and "--certify" in told.output
