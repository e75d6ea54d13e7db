"""Distil the compact encoder from VGG-19.

    python scripts/distill_encoder.py --photos FOLDER --paintings FOLDER --weights VGG19 [--work outputs/distill]

The student keeps VGG's names and strides with a fraction of its channels. Every tap has a linear head that lifts it to
the teacher's channels, and the lifted features are compared with the teacher's, mean removed: raw, which keeps Gram
matrices, and as unit vectors, which keeps the cosines that nearest neighbours are chosen by. The heads H are not lost:
√(HᵀH), as small as the tap is narrow, turns the tap's inner products into those of the lifted features, so that Gram,
content and nearest-neighbour losses on the narrow taps equal those on the lifted ones. The export stores it as the
tap's readout, scaled so that means over channels are the teacher's too.

The student starts from the teacher: of every layer, the channels that the others are best predicted from (pivoted QR),
with the teacher's own weights behind the heads of the layer before. It is then trained on crops of photographs,
paintings and made pictures, and on its own mistakes: pictures that gradient descent on the student's features has drawn
towards a painting, as stylization does.

Seeded; the same seed, step by step, whether interrupted or not. Held out: every 16th picture.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.progress import track
from scipy.linalg import qr
from torch import Tensor, nn
from torch.nn import functional

from arf import compact, files, image, natural, pretrained
from arf import encoder as encoders
from arf.encoder import Encoder, block_of
from arf.losses import moment_loss, nnfm_loss

WIDTHS = {"relu1_1": 16, "relu1_2": 16, "relu2_1": 48, "relu2_2": 64}
WIDTHS |= {"relu3_1": 96, "relu3_2": 96, "relu3_3": 96, "relu3_4": 96, "relu4_1": 112, "relu4_2": 112, "relu5_1": 112}
TAPS = tuple(WIDTHS)
SIZE = 128  # of a crop
POSITIONS = 400  # compared per crop and tap
DRAWN = 2  # crops of a batch that the student has drawn itself
POOL = 32  # crops being drawn


class Crops:
    """Augmented crops of pictures in memory."""

    def __init__(self, paths: list[Path]) -> None:
        self.pictures = [image.to_bytes(image.read(path)) for path in track(paths, "reading")]
        self.pictures += [image.to_bytes(p.permute(1, 2, 0)) for p in natural.pictures(len(paths) // 12, 320, seed=7)]

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


@torch.no_grad()
def initial(teacher: Encoder, pictures: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Chosen channels of the teacher, behind least-squares lifts from the chosen channels of the layer before."""
    convolutions, lifts = {}, {}
    rng = np.random.default_rng(0)
    targets = teacher(pictures, TAPS)
    x, lift, block = pictures - teacher.mean, torch.eye(3), 1
    for tap, width in WIDTHS.items():
        target = targets[tap].permute(0, 2, 3, 1).flatten(0, 2)  # [N, C]
        rows = torch.from_numpy(rng.choice(len(target), 12000))
        kept = torch.from_numpy(qr(target[rows].numpy(), mode="r", pivoting=True)[1][:width].copy())
        layer = teacher.convolutions[tap]
        if layer.in_channels == lift.shape[0]:
            weight = torch.einsum("oikl,ic->ockl", layer.weight[kept], lift)
            bias = layer.bias[kept]
        else:  # the teacher has layers in between that the student lacks: fit its pre-activations later
            weight = torch.randn(width, lift.shape[1], 3, 3) * math.sqrt(2 / (9 * lift.shape[1]))
            bias = torch.zeros(width)
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
        pictures = crops.batch(48, rng)
        self.student = Student(teacher, pictures)
        targets = teacher(pictures, TAPS)
        self.spread, self.unit_spread = {}, {}
        for tap, x in targets.items():
            x = x.permute(0, 2, 3, 1).flatten(0, 2)
            self.spread[tap] = float(x.var(0).sum())
            self.unit_spread[tap] = float(functional.normalize(x, dim=1).var(0).sum())
        self.fast_teacher = encoders.load("vgg19", Path(teacher.origin)).to(torch.bfloat16)
        self.pool = crops.batch(POOL, rng)
        self.pulls = crops.batch(POOL, rng)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=rate, betas=(0.9, 0.99))
        self.step = 0

    def state(self) -> dict:
        return {
            "student": self.student.state_dict(), "optimizer": self.optimizer.state_dict(),
            "pool": self.pool, "pulls": self.pulls, "step": self.step,
        }  # fmt: skip

    def restore(self, state: dict) -> None:
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.pool, self.pulls, self.step = state["pool"], state["pulls"], state["step"]

    def train_step(self) -> dict[str, float]:
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
        loss = sum(terms.values()) / len(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.draw(drawn, rng)
        self.step += 1
        return {tap: float(term.detach()) for tap, term in terms.items()}

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
        self.student.eval()
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
    photos: Path, paintings: Path, weights: Path, work: Path = Path("outputs/distill"), out: Path = compact.FILE,
    steps: int = 10000, batch: int = 8, rate: float = 2e-3, seed: int = 0, threads: int = 2,
) -> None:  # fmt: skip
    torch.set_num_threads(threads)
    paths = sorted(p for folder in (photos, paintings) for p in folder.iterdir() if p.suffix.lower() in image.FORMATS)
    held_out = paths[8::16]
    teacher = encoders.load("vgg19", weights)
    teacher.origin = str(weights)
    run = Distillation(teacher, Crops([p for p in paths if p not in held_out]), steps, seed, batch, rate)
    check = Crops(held_out)
    rng = np.random.default_rng(11)
    held = torch.stack([check.plain(rng) for _ in range(64)])
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    work.mkdir(parents=True, exist_ok=True)
    log = (work / "log.jsonl").open("a")
    if not run.step:
        print(json.dumps({"step": 0, **run.judge(held[:32], held[32:])}), file=log, flush=True)
    for _ in track(range(run.step, steps), "distilling"):
        terms = run.train_step()
        if run.step % 50 == 0:
            print(json.dumps({"step": run.step, "loss": sum(terms.values()) / len(terms)}), file=log, flush=True)
        if run.step % 250 == 0 or run.step == steps:
            print(json.dumps({"step": run.step, **run.judge(held[:32], held[32:])}), file=log, flush=True)
            with files.atomic_path(checkpoint) as temporary:
                torch.save(run.state(), temporary)
    network = run.student.encoder
    convolutions = {tap: (layer.weight, layer.bias) for tap, layer in network.convolutions.items()}
    mean = tuple(network.mean.flatten().tolist())
    compact.save(out, convolutions, dict(run.student.lifts), mean, teacher=teacher.fingerprint, steps=str(steps))


if __name__ == "__main__":
    tyro.cli(main)
