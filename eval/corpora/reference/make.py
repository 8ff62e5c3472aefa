"""Makes the small images and sounds that the tests of media corpora decode, and what their chunks must be.

    python -m venv venv && venv/bin/pip install pillow soundfile numpy && venv/bin/python make.py

The chunks are cut here by Pillow, soundfile (libsndfile) and numpy alone, so that the tests hold the program to an
implementation that shares nothing with it. `chunks.json` has for each file and option the SHA-256 of its chunks.
`python make.py FOLDER` prints the same of a whole folder, as `lmtrain data verify FOLDER` does.
"""

import hashlib
import json
import pathlib
import sys

import numpy
import soundfile
from PIL import Image

HERE = pathlib.Path(__file__).parent
IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".bmp"}


def grey(pixels, luma):
    """[height, width] of pixels [height, width(, channels)]: alpha is passed over, of 16 bits the high byte counts."""
    if pixels.dtype == numpy.uint16:
        pixels = pixels >> 8
    pixels = pixels.astype(numpy.uint32)
    if pixels.ndim == 2:
        return pixels.astype(numpy.uint8)
    if pixels.shape[2] == 2:
        return pixels[:, :, 0].astype(numpy.uint8)
    if luma:
        return ((pixels[:, :, :3] @ numpy.array([19595, 38470, 7471]) + 32768) >> 16).astype(numpy.uint8)
    return (pixels[:, :, :3].sum(axis=2) // 3).astype(numpy.uint8)


def image_chunks(path, luma=False):
    image = Image.open(path)
    if image.mode in ("P", "CMYK", "1"):
        image = image.convert("RGB")
    pixels = grey(numpy.asarray(image), luma)
    rows, columns = pixels.shape[0] // 32, pixels.shape[1] // 64
    pixels = pixels[: rows * 32, : columns * 64]
    return pixels.reshape(rows, 32, columns, 64).transpose(0, 2, 1, 3).tobytes()


def audio_chunks(path, bits=8):
    # Of 32 bits whatever the file has, with the sample at the top.
    samples, _ = soundfile.read(path, dtype="int32", always_2d=True)
    if soundfile.info(path).subtype in ("FLOAT", "DOUBLE"):
        fractions, _ = soundfile.read(path, dtype="float64", always_2d=True)
        sixteen = numpy.clip(numpy.trunc(fractions * 32768 + numpy.copysign(0.5, fractions)), -32768, 32767)
        sixteen = sixteen.astype(numpy.int64)
    else:
        sixteen = samples.astype(numpy.int64) >> 16
    mono = sixteen.sum(axis=1) // sixteen.shape[1]
    data = ((mono >> 8) + 128).astype(numpy.uint8) if bits == 8 else mono.astype("<i2")
    whole = data.tobytes()
    return whole[: len(whole) // 2048 * 2048]


def files(folder):
    """Files in the order of their names, folders gone into where they come."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name.encode()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def scene(height, width, seed):
    """A smooth scene with edges and a little noise: what photographs have."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:height, :width]
    red = 128 + 90 * numpy.sin(x / 17) * numpy.cos(y / 11)
    green = numpy.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < 500, 220, 60) + y / 3
    blue = 255 * x / width
    pixels = numpy.stack([red, green, blue], axis=2) + random.normal(0, 3, (height, width, 3))
    return numpy.clip(pixels, 0, 255).astype(numpy.uint8)


def make_images():
    pixels = scene(69, 131, 0)
    image = Image.fromarray(pixels)
    image.save(HERE / "rgb.png", optimize=True)
    alpha = numpy.concatenate([pixels, pixels[:, :, 1:2]], axis=2)
    Image.fromarray(alpha[:33, :65]).save(HERE / "rgba.png", optimize=True)
    image.quantize(16).save(HERE / "palette.png", optimize=True)
    wide = (pixels[:33, :65, 0].astype(numpy.uint16) << 8) + 200
    Image.fromarray(wide).save(HERE / "grey-16.png", optimize=True)
    image.crop((0, 0, 66, 34)).save(HERE / "rgb.tif", compression="tiff_lzw")
    image.crop((0, 0, 64, 32)).save(HERE / "rgb.bmp")
    image.crop((0, 0, 64, 32)).save(HERE / "rgb.ppm")
    image.save(HERE / "lossless.webp", lossless=True)
    image.save(HERE / "lossy.webp", quality=60)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        image.save(HERE / f"{name}.jpg", quality=85, subsampling=subsampling)
    image.save(HERE / "progressive.jpg", quality=75, progressive=True, subsampling=2)
    image.save(HERE / "restarts.jpg", quality=75, restart_marker_blocks=3)
    image.convert("L").save(HERE / "grey.jpg", quality=75)


def make_sounds():
    random = numpy.random.default_rng(1)
    time = numpy.arange(5000) / 16000
    voice = numpy.sin(2 * numpy.pi * 220 * time) * numpy.sin(2 * numpy.pi * 3 * time) ** 2
    voice = 0.4 * voice + random.normal(0, 0.003, 5000)
    sixteen = (voice * 32767).astype(numpy.int16)
    soundfile.write(HERE / "voice.flac", sixteen, 16000, subtype="PCM_16")
    stereo = numpy.stack([voice, numpy.roll(voice, 50) * 0.7], axis=1)[:2100]
    soundfile.write(HERE / "stereo-24.flac", stereo, 16000, subtype="PCM_24")
    soundfile.write(HERE / "stereo-24.wav", stereo, 16000, subtype="PCM_24")
    soundfile.write(HERE / "float.wav", stereo.astype(numpy.float32), 16000, subtype="FLOAT")
    soundfile.write(HERE / "eight.wav", voice[:2100], 16000, subtype="PCM_U8")
    soundfile.write(HERE / "voice.ogg", voice, 16000, format="OGG", subtype="VORBIS")
    soundfile.write(HERE / "voice.mp3", voice, 16000, format="MP3")


def expected():
    """SHA-256 of the chunks of each file, by option. MP3 and Vorbis are not exact, and are not among them."""
    hashes = {}
    for path in files(HERE):
        if path.suffix in IMAGES:
            by_option = {"grey=mean": image_chunks(path), "grey=luma": image_chunks(path, luma=True)}
        elif path.suffix in (".flac", ".wav"):
            by_option = {"bits=8": audio_chunks(path), "bits=16": audio_chunks(path, 16)}
        else:
            continue
        hashes[path.name] = {key: hashlib.sha256(data).hexdigest() for key, data in by_option.items()}
    return hashes


if __name__ == "__main__":
    if len(sys.argv) > 1:
        digest, total = hashlib.sha256(), 0
        bits = int(sys.argv[2]) if len(sys.argv) > 2 else 8
        for file in files(pathlib.Path(sys.argv[1])):
            suffix = file.suffix.lower()
            if suffix in IMAGES or suffix in (".flac", ".wav"):
                data = image_chunks(file) if suffix in IMAGES else audio_chunks(file, bits)
                digest.update(data)
                total += len(data)
        print(digest.hexdigest(), total // 2048, "chunks")
    else:
        make_images()
        make_sounds()
        (HERE / "chunks.json").write_text(json.dumps(expected(), indent=1) + "\n")
