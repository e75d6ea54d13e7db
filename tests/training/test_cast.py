from __future__ import annotations

import pytest
import torch
from folders import folders, small
from trained import adain_file

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.networks import modelfile
from arf.style import encoder as encoders
from arf.training.cast import CastTrainee
from arf.training.data import Samples, stream
from arf.training.processes import Team
from arf.training.train import train

ALONE = Team(0, 1, torch.device("cpu"))


def begin(tmp_path, **options) -> Run:
    photos, paintings = folders(tmp_path)
    return train("cast", photos, (paintings,), small("cast", **options), tmp_path / "runs")


def trainee(tmp_path, **options) -> tuple[CastTrainee, list]:
    photos, paintings = folders(tmp_path)
    settings = small("cast", **options).for_method("cast")
    torch.manual_seed(0)
    made = CastTrainee(sorted(photos.iterdir()), sorted(paintings.iterdir()), settings, ALONE)
    return made, list(stream(Samples(made.sources, settings.crop, 0), 0, 4, settings.batch))


def changed(module, before) -> set[str]:
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}


def copy(module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def test_each_phase_moves_its_own_part_alone(tmp_path):
    made, batches = trainee(tmp_path, learning_rate=1e-3)
    parts = {"painter": made.network.decoders, "discriminators": made.judges.real, "projector": made.judges.projector}
    assert [phase.name for phase in made.phases] == list(parts)
    frozen = copy(made.network.encoder)
    for batch in batches[:2]:  # in the first step the queue is empty, so that there is nothing to tell apart
        for phase in made.phases:
            before = {name: copy(part) for name, part in parts.items()}
            phase.optimizer.zero_grad()
            sum(phase.objective(batch).values()).backward()
            phase.optimizer.step()
            for name, part in parts.items():
                moved = changed(part, before[name])
                if name != phase.name:
                    assert not moved
                elif batch is batches[1]:
                    assert {n.split(".")[0] for n in moved} == {n.split(".")[0] for n, _ in part.named_parameters()}
    assert not changed(made.network.encoder, frozen)


def test_the_encoder_stays_as_it_was_loaded(tmp_path):
    made, _ = trainee(tmp_path)
    loaded = encoders.load("compact", padding="reflect")
    assert made.network.encoder.fingerprint == loaded.fingerprint
    assert not changed(made.network.encoder, copy(loaded))


def test_codes_are_scored_before_they_join_the_queue(tmp_path):
    made, batches = trainee(tmp_path)
    telling = made.phases[2].objective
    (first,) = telling(batches[0]).values()
    assert first.item() == 0.0  # nothing to be told apart from
    queue = made.judges.queues["relu4_3"]
    assert int((queue.owners >= 0).sum()) == 2
    assert queue.owners[:2].tolist() == batches[0].drawn(1).tolist()
    (second,) = telling(batches[1]).values()
    assert second.item() > 0
    assert int((queue.owners >= 0).sum()) == 4


def test_the_contrast_reaches_the_painter(tmp_path):
    made, batches = trainee(tmp_path, content_weight=0.0, adversarial_weight=0.0)
    made.phases[2].objective(batches[0])
    terms = made.phases[0].objective(batches[1])
    sum(terms.values()).backward()
    painting, photograph = (made.network.decoders[d].convolutions["relu1_1"].conv for d in ("painting", "photograph"))
    assert terms["style"].item() > 0
    assert painting.weight.grad.abs().sum() > 0
    assert photograph.weight.grad.abs().sum() == 0
    assert all(p.grad is None for p in made.judges.parameters())


def test_half_precision_gives_finite_terms_near_those_of_full(tmp_path):
    made, batches = trainee(tmp_path)
    made.phases[2].objective(batches[0])
    full = made.phases[0].objective(batches[1])
    with torch.autocast("cpu", torch.bfloat16):
        half = made.phases[0].objective(batches[1])
    for name, term in full.items():
        assert half[name].dtype == torch.float32
        assert float(half[name].detach()) == pytest.approx(float(term.detach()), rel=0.1, abs=0.01)


def test_it_may_begin_with_adains_decoder(tmp_path):
    photos, paintings = folders(tmp_path)
    start = adain_file(tmp_path)
    run = train("cast", photos, (paintings,), small("cast", steps=1, learning_rate=1e-9), tmp_path / "runs", init=start)
    network, begun = modelfile.open_cast(run.path), modelfile.open_adain(start)
    for domain in ("painting", "photograph"):
        painter = network.to_domain(domain)
        for name, p in painter.decoder.named_parameters():
            assert torch.allclose(p, dict(begun.decoder.named_parameters())[name], atol=1e-3)
    further = train("cast", photos, (paintings,), small("cast", steps=1), tmp_path / "more", init=run.path)
    assert modelfile.kind_of(further.path / modelfile.MODEL) == "cast"


def test_a_model_of_another_kind_is_refused(tmp_path):
    run = begin(tmp_path, steps=1)
    with pytest.raises(UserError, match="is a model of arf train cast; one of arf train adain is needed"):
        modelfile.open_adain(run.path)
    with pytest.raises(UserError, match="is a model of arf train adain; one of arf train cast is needed"):
        modelfile.open_cast(adain_file(tmp_path))
