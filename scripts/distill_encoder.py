"""Distil the compact encoder from VGG-19.

    python scripts/distill_encoder.py --photos FOLDER --paintings FOLDER --weights VGG19 [--work outputs/distill]

The student keeps VGG's names and strides with a fraction of its channels. Every tap has a linear head that lifts it to
the teacher's channels, and the lifted features are compared with the teacher's, mean removed: raw, which keeps Gram
matrices, and as unit vectors, which keeps the cosines that nearest neighbours are chosen by. The heads are not lost:
`arf.style.compact.save` turns each into a readout as narrow as its tap, with the same inner products.

The student starts from the teacher: of every layer, the channels that the others are best predicted from (pivoted QR),
with the teacher's own weights behind the heads of the layer before. It is then trained on crops of photographs,
paintings and made pictures, and on its own mistakes: pictures that gradient descent on the student's features has drawn
towards a painting, as stylization does.

Every draw follows from the seed and the step, so a run that was killed goes on, from its last checkpoint, to the same
network. Held out: every 16th picture. `<work>/log.jsonl` has what is measured on them.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.progress import track
from scipy.linalg import qr
from torch import Tensor, nn
from torch.nn import functional

from arf.jobs import files
from arf.media import image
from arf.style import compact, natural, pretrained
from arf.style import encoder as encoders
from arf.style.encoder import Encoder, block_of
from arf.style.losses import moment_loss, nnfm_loss

WIDTHS = {"relu1_1": 16, "relu1_2": 16, "relu2_1": 48, "relu2_2": 48}
WIDTHS |= {"relu3_1": 96, "relu3_2": 96, "relu3_3": 96, "relu3_4": 96}
WIDTHS |= {"relu4_1": 112, "relu4_2": 80, "relu4_3": 80, "relu4_4": 80, "relu5_1": 80}
WEIGHTS = {1: 1.0, 2: 1.0, 3: 2.0, 4: 0.5, 5: 0.5}  # of the loss, by block
TAPS = tuple(WIDTHS)
SIZE = 128  # of a crop
POSITIONS = 400  # compared per crop and tap
DRAWN = 2  # crops of a batch that the student has drawn itself
POOL = 32  # crops being drawn
MEASURED = 48  # crops by which what features spread is measured
JUDGED = 32  # held-out crops of each kind
SAVE_EVERY = 250  # steps


class Crops:
    """Augmented crops of pictures in memory."""

    def __init__(self, paths: list[Path], made: int = 0) -> None:
        self.pictures = [image.to_bytes(image.read(path)) for path in track(paths, "reading")]
        if made:
            self.pictures += [image.to_bytes(p.permute(1, 2, 0)) for p in natural.pictures(made, 320, seed=7)]

    def plain(self, rng: np.random.Generator) -> Tensor:
        """A crop [3, SIZE, SIZE] at a random scale, flipped or turned."""
        picture = self.pictures[rng.integers(len(self.pictures))]
        side = min(int(SIZE * math.exp(rng.uniform(math.log(0.6), math.log(2.4)))), *picture.shape[:2])
        y, x = (int(rng.integers(n - side + 1)) for n in picture.shape[:2])
        crop = picture[y : y + side, x : x + side].permute(2, 0, 1)[None].float() / 255
        crop = functional.interpolate(crop, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)[0]
        if rng.random() < 0.5:
            crop = crop.flip(2)
        return crop.rot90(int(rng.choice([0, 0, 0, 1, 2, 3])), (1, 2))

    def augmented(self, rng: np.random.Generator) -> Tensor:
        """A crop as stylization may meet it: blended, recoloured, blurred, noisy."""
        crop = self.plain(rng)
        if rng.random() < 0.25:
            crop = torch.lerp(crop, self.plain(rng), float(rng.uniform(0.1, 0.6)))
        if rng.random() < 0.6:  # contrast, brightness, saturation, tint
            mean = crop.mean((1, 2), keepdim=True)
            grey = crop.mean(0, keepdim=True)
            crop = grey + (crop - grey) * float(rng.uniform(0, 1.8))
            crop = (crop - mean) * float(rng.uniform(0.4, 1.6)) + mean * float(rng.uniform(0.6, 1.4))
            crop = crop * torch.from_numpy(rng.uniform(0.75, 1.3, (3, 1, 1))).float()
        if rng.random() < 0.1:
            crop = crop[rng.permutation(3)]
        if rng.random() < 0.15:
            small = functional.avg_pool2d(crop[None], 2)
            crop = functional.interpolate(small, (SIZE, SIZE), mode="bilinear", align_corners=False)[0]
        if rng.random() < 0.3:
            noise = torch.from_numpy(rng.standard_normal((3, SIZE, SIZE), dtype=np.float32))
            crop = crop + float(rng.uniform(0.005, 0.12)) * noise
        return crop.clamp(0, 1).contiguous()

    def batch(self, count: int, rng: np.random.Generator) -> Tensor:
        return torch.stack([self.augmented(rng) for _ in range(count)])


class Student(nn.Module):
    """The compact network with a lift [C_teacher, c] per tap."""

    def __init__(self, teacher: Encoder, pictures: Tensor) -> None:
        super().__init__()
        convolutions, lifts = initial(teacher, pictures)
        mean = tuple(teacher.mean.flatten().tolist())
        self.encoder = Encoder(pretrained.Stack("compact", convolutions, mean, "arf", "in training"))
        self.encoder.requires_grad_(True)
        self.lifts = nn.ParameterDict({tap: nn.Parameter(lift) for tap, lift in lifts.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        return self.encoder(pictures, TAPS)

    def save(self, path: Path, **notes: str) -> None:
        convolutions = {tap: (layer.weight, layer.bias) for tap, layer in self.encoder.convolutions.items()}
        mean = tuple(self.encoder.mean.flatten().tolist())
        compact.save(path, convolutions, dict(self.lifts), mean, **notes)


@torch.no_grad()
def initial(teacher: Encoder, pictures: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Chosen channels of the teacher, behind least-squares lifts from the chosen channels of the layer before."""
    convolutions, lifts = {}, {}
    rng = np.random.default_rng(0)
    targets = teacher(pictures, TAPS)
    x, lift, block = pictures - teacher.mean, torch.eye(3), 1
    for tap, width in WIDTHS.items():
        target = targets[tap].permute(0, 2, 3, 1).flatten(0, 2)  # [N, C]
        some = target[torch.from_numpy(rng.choice(len(target), 12000))].numpy()
        kept = torch.from_numpy(qr(some, mode="r", pivoting=True)[1][:width].copy())
        layer = teacher.convolutions[tap]
        weight, bias = torch.einsum("oikl,ic->ockl", layer.weight[kept], lift), layer.bias[kept]
        if block_of(tap) != block:
            x, block = functional.max_pool2d(x, 2), block_of(tap)
        x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        source = x.permute(0, 2, 3, 1).flatten(0, 2)
        normal = source.T @ source
        normal += 1e-4 * normal.diagonal().mean() * torch.eye(width)
        lift = torch.linalg.solve(normal, source.T @ target).T.contiguous()  # [C, c]
        convolutions[tap], lifts[tap] = (weight, bias), lift
    return convolutions, lifts


def rows(features: Tensor, positions: Tensor) -> Tensor:
    """Features [B, C, H, W] at flat positions [n] of each picture: [B·n, C]."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)[:, positions].flatten(0, 1)


class Distillation:
    """Everything that training changes, and how it goes on from a file."""

    def __init__(self, teacher: Encoder, crops: Crops, steps: int, seed: int, batch: int, rate: float) -> None:
        self.teacher, self.crops = teacher, crops
        self.steps, self.seed, self.batch, self.rate = steps, seed, batch, rate
        rng = np.random.default_rng([seed, 1])
        pictures = crops.batch(MEASURED, rng)
        self.student = Student(teacher, pictures)
        targets = teacher(pictures, TAPS)
        self.spread, self.unit_spread = {}, {}
        for tap, x in targets.items():
            x = x.permute(0, 2, 3, 1).flatten(0, 2)
            self.spread[tap] = float(x.var(0).sum())
            self.unit_spread[tap] = float(functional.normalize(x, dim=1).var(0).sum())
        self.fast_teacher = copy.deepcopy(teacher).to(torch.bfloat16)
        self.pool = crops.batch(POOL, rng)
        self.pulls = crops.batch(POOL, rng)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=rate, betas=(0.9, 0.99))
        self.step = 0

    def state(self) -> dict:
        settings = {"steps": self.steps, "seed": self.seed, "batch": self.batch, "rate": self.rate}
        return {
            "settings": settings, "student": self.student.state_dict(), "optimizer": self.optimizer.state_dict(),
            "pool": self.pool, "pulls": self.pulls, "step": self.step,
        }  # fmt: skip

    def restore(self, state: dict) -> None:
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.pool, self.pulls, self.step = state["pool"], state["pulls"], state["step"]

    def train_step(self) -> None:
        rng = np.random.default_rng([self.seed, 2, self.step])
        drawn = torch.from_numpy(rng.choice(POOL, DRAWN, replace=False))
        pictures = torch.cat([self.crops.batch(self.batch - DRAWN, rng), self.pool[drawn]])
        for group in self.optimizer.param_groups:
            warm, done = min(1.0, (self.step + 1) / 100), self.step / self.steps
            group["lr"] = self.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        with torch.no_grad():
            targets = self.fast_teacher(pictures.bfloat16(), TAPS)
        found = self.student(pictures)
        terms = {}
        for tap in TAPS:
            area = targets[tap].shape[2] * targets[tap].shape[3]
            positions = torch.from_numpy(rng.choice(area, min(area, POSITIONS), replace=False))
            target = rows(targets[tap], positions).float()
            lifted = rows(found[tap], positions) @ self.student.lifts[tap].T
            raw = (lifted - target).square().sum(1).mean() / self.spread[tap]
            unit = functional.normalize(lifted, dim=1) - functional.normalize(target, dim=1)
            terms[tap] = raw + unit.square().sum(1).mean() / self.unit_spread[tap]
        loss = sum(WEIGHTS[block_of(tap)] * term for tap, term in terms.items()) / len(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.draw(drawn, rng)
        self.step += 1

    def draw(self, drawn: Tensor, rng: np.random.Generator) -> None:
        """Move the drawn crops a step towards their paintings in the student's features; replace some by fresh ones."""
        for i in drawn.tolist():
            if rng.random() < 1 / 60:
                self.pool[i], self.pulls[i] = self.crops.batch(2, rng)
                continue
            x = self.pool[i : i + 1].clone().requires_grad_()
            taps = ("relu1_1", "relu2_1", "relu3_1") if i % 2 else ("relu3_1", "relu3_2", "relu3_3")
            lifts = self.student.lifts
            found = self.student.encoder(torch.cat([x, self.pulls[i : i + 1]]), taps)
            loss = 0.0
            for tap in taps:
                ours, theirs = (found[tap].permute(0, 2, 3, 1) @ lifts[tap].T).permute(0, 3, 1, 2).split(1)
                loss = loss + (moment_loss(ours, theirs.detach()) if i % 2 else nnfm_loss(ours, theirs.detach()))
            (gradient,) = torch.autograd.grad(loss, x)
            step = gradient / gradient.abs().mean().clamp_min(1e-12)
            self.pool[i] = (x.detach() - 0.01 * step.clamp(-4, 4))[0].clamp(0, 1)

    @torch.no_grad()
    def judge(self, pictures: Tensor, others: Tensor) -> dict[str, dict[str, float]]:
        """On held-out pictures: the share of the teacher's variance left unexplained, of raw and of unit features, and
        how much worse than the best the nearest neighbours in `others` are that the student chooses (1: random)."""
        report = {}
        theirs, ours = self.teacher(pictures, TAPS), self.student(pictures)
        style_theirs, style_ours = self.teacher(others, TAPS), self.student(others)
        rng = np.random.default_rng(3)
        for tap in TAPS:
            area = theirs[tap].shape[2] * theirs[tap].shape[3]
            some = torch.from_numpy(rng.choice(area, min(area, 256), replace=False))
            t, s = rows(theirs[tap], some), rows(ours[tap], some) @ self.student.lifts[tap].T
            bank_t = functional.normalize(rows(style_theirs[tap], some), dim=1)
            bank_s = functional.normalize(rows(style_ours[tap], some) @ self.student.lifts[tap].T, dim=1)
            unit_t, unit_s = functional.normalize(t, dim=1), functional.normalize(s, dim=1)
            truth = unit_t @ bank_t.T
            chosen = truth.gather(1, (unit_s @ bank_s.T).argmax(1, keepdim=True)).mean()
            best, chance = truth.amax(1).mean(), truth.mean()
            report[tap] = {
                "raw": float((s - t).square().sum(1).mean() / t.var(0).sum()),
                "unit": float((unit_s - unit_t).square().sum(1).mean() / unit_t.var(0).sum()),
                "neighbours": float((best - chosen) / (best - chance)),
            }
        return report


def main(
    photos: Path,
    paintings: Path,
    weights: Path,
    work: Path = Path("outputs/distill"),
    out: Path = compact.FILE,
    steps: int = 4500,
    batch: int = 8,
    rate: float = 1e-3,
    seed: int = 0,
    threads: int = 2,
) -> None:
    """
    Args:
        photos: folder of photographs to train on.
        paintings: folder of paintings.
        weights: VGG-19, the teacher.
        work: folder of checkpoint and log; a run that was stopped goes on from there.
        out: file to write.
        steps: optimisation steps, each of one batch.
        batch: crops.
        rate: Adam's learning rate, decayed along a cosine.
        seed: of everything that is drawn.
        threads: processor threads.
    """
    torch.set_num_threads(threads)
    paths = sorted(p for folder in (photos, paintings) for p in folder.iterdir() if p.suffix.lower() in image.FORMATS)
    held_out = paths[8::16]
    teacher = encoders.load("vgg19", weights)
    run = Distillation(teacher, Crops([p for p in paths if p not in held_out], made=60), steps, seed, batch, rate)
    rng, unseen = np.random.default_rng(11), Crops(held_out)
    contents, styles = (torch.stack([unseen.plain(rng) for _ in range(JUDGED)]) for _ in range(2))
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["settings"] != run.state()["settings"]:
            sys.exit(f"{checkpoint} is of a run with {state['settings']}; give the same, or another --work")
        run.restore(state)
    with (work / "log.jsonl").open("a") as log:
        for _ in track(range(run.step, steps), "distilling"):
            if run.step == 0:
                print(json.dumps({"step": 0, **run.judge(contents, styles)}), file=log, flush=True)
            run.train_step()
            if run.step % SAVE_EVERY == 0 or run.step == steps:
                print(json.dumps({"step": run.step, **run.judge(contents, styles)}), file=log, flush=True)
                with files.atomic_path(checkpoint) as temporary:
                    torch.save(run.state(), temporary)
    run.student.save(out, teacher=teacher.fingerprint, steps=str(steps), seed=str(seed))


if __name__ == "__main__":
    tyro.cli(main)
