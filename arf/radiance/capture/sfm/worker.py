"""COLMAP's long work, in a process of its own: this file is its program, and imports nothing of arf.

A full disk or too little memory ends native code by an abort, which takes its process along; and it can be ended itself
at any moment. Jobs come as lines of JSON, and go back as {"done": n} now and then and {"result": …} or {"error": …}.
When the other end has gone, so does this one.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pycolmap

EVERY = 0.2  # seconds
SEED = 0  # of every random draw
BLOCK = 50  # pairs that are written together: what is lost where the process is ended
Say = Callable[[dict[str, Any]], None]
CPU = pycolmap.Device.cpu


def cameras(database: str, images: str, groups: list[dict[str, Any]]) -> None:
    """Make the database, and write pictures and their cameras into it: `names`, `model`, `params` of each group; those
    that are there already stay, and the new ones of a group get their camera."""
    pycolmap.Database.open(database).close()
    with closing(pycolmap.Database.open(database)) as opened:
        known = {image.name: image.camera_id for image in opened.read_all_images()}
    for group in groups:
        fresh = [name for name in group["names"] if name not in known]
        options = pycolmap.ImageReaderOptions()
        options.camera_model = group["model"]
        if there := [known[name] for name in group["names"] if name in known]:
            options.existing_camera_id = there[0]
        elif group["params"]:
            options.camera_params = ",".join(map(str, group["params"]))
        if fresh:
            pycolmap.import_images(database, images, pycolmap.CameraMode.SINGLE, fresh, options)


def extract(
    say: Say, database: str, images: str, names: list[str], masks: str | None, afresh: str, **values: Any
) -> None:
    """SIFT features of those pictures that have none; of all where `afresh` names a file to be made once they, and what
    was known of pairs, are gone."""
    options, reader = pycolmap.FeatureExtractionOptions(), pycolmap.ImageReaderOptions()
    options.num_threads, options.max_image_size, options.use_gpu = values["threads"], values["long_side"], False
    options.sift.max_num_features, options.sift.first_octave = values["most"], values["first_octave"]
    options.sift.num_octaves = values["octaves"]
    options.sift.peak_threshold, options.sift.edge_threshold = values["contrast"], values["edge"]
    if masks:
        reader.mask_path = masks
    with closing(pycolmap.Database.open(database)) as opened:
        if afresh:
            opened.clear_keypoints()
            opened.clear_descriptors()
            opened.clear_matches()
            opened.clear_two_view_geometries()
            open(afresh, "w").close()
        numbers = [image.image_id for image in opened.read_all_images()]
        with _telling(say, lambda: sum(map(opened.exists_descriptors, numbers))):
            pycolmap.extract_features(
                database, images, image_names=names, reader_options=reader, extraction_options=options, device=CPU
            )


def match(say: Say, database: str, listed: str, afresh: bool, **values: Any) -> None:
    """Match the pairs of a file, two names a line, that have not been matched yet; `afresh`: all of them."""
    matching, pairing = pycolmap.FeatureMatchingOptions(), pycolmap.ImportedPairingOptions()
    verifying = pycolmap.TwoViewGeometryOptions()
    matching.num_threads, matching.use_gpu = values["threads"], False
    matching.guided_matching, matching.sift.max_ratio = values["guided"], values["clear"]
    verifying.ransac.random_seed, verifying.ransac.max_error = SEED, values["pixels"]
    pairing.match_list_path, pairing.block_size = listed, BLOCK
    with open(listed, encoding="utf-8") as file:
        listed_pairs = [line.split() for line in file]
    with closing(pycolmap.Database.open(database)) as opened:
        numbers = {image.name: image.image_id for image in opened.read_all_images()}
        pairs = [(numbers[a], numbers[b]) for a, b in listed_pairs if a in numbers and b in numbers]
        for a, b in pairs if afresh else ():
            if opened.exists_matches(a, b):
                opened.delete_matches(a, b)
            if opened.exists_two_view_geometry(a, b):
                opened.delete_two_view_geometry(a, b)
        others = opened.num_matched_image_pairs() if afresh else 0
        with _telling(say, lambda: opened.num_matched_image_pairs() - others):
            pycolmap.match_image_pairs(database, matching, pairing, verifying, device=CPU)


def reconstruct(say: Say, database: str, images: str, output: str, start: str, **values: Any) -> list[str]:
    """The incremental mapper; the folders of the pieces that it made. `start`: a piece to go on with, or nothing."""
    options, placed = pycolmap.IncrementalPipelineOptions(), [0]
    options.num_threads, options.random_seed, options.min_model_size = values["threads"], SEED, values["smallest"]
    options.mapper.num_threads, options.mapper.random_seed = values["threads"], SEED
    options.triangulation.random_seed, options.multiple_models = SEED, not start
    pixels = values["pixels"]
    options.mapper.init_max_error = options.mapper.filter_max_reproj_error = pixels
    options.mapper.abs_pose_max_error = 3 * pixels
    options.triangulation.merge_max_reproj_error = options.triangulation.complete_max_reproj_error = pixels
    if values["plain"]:
        options.mapper.init_min_num_inliers, options.mapper.abs_pose_min_num_inliers = 30, 15
        options.structure_less_registration_fallback = False  # with so little it puts cameras anywhere

    def one_more() -> None:
        placed[0] += 1

    with _telling(say, lambda: placed[0]):
        made = pycolmap.incremental_mapping(database, images, output, options, start, one_more, one_more)
    for number, piece in made.items():
        os.makedirs(os.path.join(output, str(number)), exist_ok=True)
        piece.write(os.path.join(output, str(number)))
    return [os.path.join(output, str(number)) for number in made]


class _telling:
    """Within the block how much is done is said now and then."""

    def __init__(self, say: Say, count: Callable[[], int]) -> None:
        self.say, self.count, self.over = say, count, threading.Event()
        self.thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _tell(self) -> None:
        while not self.over.wait(EVERY):
            self.say({"done": self.count()})


def main() -> None:
    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL.value)  # what goes wrong, it raises as well
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native code may print
    lock = threading.Lock()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(line)
        os._exit(0)

    def say(what: dict[str, Any]) -> None:
        with lock:
            replies.write(json.dumps(what) + "\n")
            replies.flush()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        job = json.loads(jobs.get())
        name, values = job.pop("job"), job
        try:
            if name == "cameras":
                result = cameras(**values)
            else:
                result = {"extract": extract, "match": match, "reconstruct": reconstruct}[name](say, **values)
            say({"result": result})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
