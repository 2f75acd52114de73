"""The peer of `make bench`: what one writes in an afternoon with PyAV, numpy and ONNX Runtime.

It watches one recording with the very model files of the program, the extractor's whole graph and a learned scorer,
and prints alerts. With --json it prints every score, and at last what CPU time a second of the video took.
"""

import argparse
import collections
import json
import time

import av
import numpy as np
import onnxruntime

OPEN_N, OPEN_M = 2, 3  # an alert: so many of the last so many segments are above the threshold


def load(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def manifest(session):
    return json.loads(session.get_modelmeta().custom_metadata_map["sigmawatch.manifest"])["spec"]


def pictures(path, width, height, fps, seconds):
    """The pictures that are analysed: time, and luma of `height` x `width` bytes."""
    with av.open(path) as container:
        first = due = None
        for frame in container.decode(video=0):
            first = frame.time if first is None else first
            now = frame.time - first
            if now >= seconds:
                return
            if due is not None and now < due - 0.25 / fps:
                continue
            due = (now if due is None else due) + 1 / fps
            # The decoder's own luma, so that no colour is converted.
            small = frame.reformat(width, height, "yuv420p", interpolation="FAST_BILINEAR").planes[0]
            rows = np.frombuffer(small, np.uint8).reshape(-1, small.line_size)
            yield now, rows[:height, :width].copy()


def segments(frames, length, stride):
    """Windows of `length` pictures that follow each other by `stride`, with the time of the last one."""
    window = collections.deque(maxlen=length)
    for number, (now, picture) in enumerate(frames, 1):
        window.append(picture)
        if number >= length and (number - length) % stride == 0:
            yield now, np.stack(window)[np.newaxis, ..., np.newaxis]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--extractor", required=True, help="the bank: sigmawatch models export v1 --out FILE")
    parser.add_argument("--scorer", required=True, help="learned: sigmawatch learn --from VIDEO --out FILE")
    parser.add_argument("--stride", type=int, default=2, help="pictures from one segment's start to the next")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of the video at most")
    parser.add_argument("-k", type=float, default=3.0, help="the threshold is mu + k sigma")
    parser.add_argument("--json", action="store_true", help="print scores and costs")
    args = parser.parse_args()

    extractor, scorer = load(args.extractor), load(args.scorer)
    spec = manifest(scorer)
    frame, calibration = spec["sampling"]["frame"], spec["calibration"]
    threshold = calibration["mu"] + args.k * calibration["sigma"]
    length = manifest(extractor)["frames"]
    frames = pictures(args.video, frame["width"], frame["height"], frame["fps"], args.seconds)

    recent, alerting, begun, now = collections.deque(maxlen=OPEN_M), False, None, 0.0
    for now, pixels in segments(frames, length, args.stride):
        (features,) = extractor.run(["features"], {"frames": pixels})
        (score,) = scorer.run(["score"], {"features": features})[0].ravel()
        recent.append(score > threshold)
        if sum(recent) >= OPEN_N and not alerting and not args.json:
            print(f"{now:.2f} s: something unusual, score {score:.2f}, threshold {threshold:.2f}", flush=True)
        alerting = sum(recent) >= OPEN_N
        if args.json:
            print(json.dumps({"end": round(now, 3), "score": float(score)}))
        # What the start costs is left out: every later segment is as dear as the next.
        begun = begun or (now, time.process_time())
    if args.json and begun:
        cpu, video = time.process_time() - begun[1], now - begun[0]
        print(json.dumps({"cpu_seconds": cpu, "video_seconds": video}))


if __name__ == "__main__":
    main()
