import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from oasjax.errors import UserError
from oasjax.input_pipeline.decode import decode_image, image_size, read_image


def smooth_picture(height=24, width=40):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 3], -1).astype(np.uint8)


def encode(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg_bytes(**options):
    return encode(Image.fromarray(smooth_picture()), "JPEG", quality=95, **options)


def test_png_is_read_exactly_and_as_rgb():
    picture = smooth_picture()
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(picture), "PNG"), "a.png"), picture)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_read_as_pillow_reads_it(progressive):
    data = jpeg_bytes(progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data, "a.jpg") - expected).max() <= 3


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "LA", "P", "I;16"])
def test_other_colour_models_become_rgb(mode):
    picture = Image.fromarray(smooth_picture())
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        data, expected = encode(Image.fromarray(grey), "PNG"), picture.convert("L").convert("RGB")
    else:
        picture = picture.convert(mode)
        data = encode(picture, "JPEG" if mode in ("L", "CMYK") else "PNG")
        expected = picture.convert("RGB")
    image = decode_image(data, "a picture")
    assert image.shape == (24, 40, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_exif_orientation_is_applied(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form == "JPEG" else {}
    data = encode(Image.fromarray(smooth_picture()), form, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).astype(int)
    assert expected.shape == ((24, 40, 3) if orientation < 5 else (40, 24, 3))
    assert np.abs(decode_image(data, "turned") - expected).max() <= 2


def test_a_broken_exif_block_is_no_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(jpeg_bytes(exif=exif))
    block = data.index(b"Exif")
    data[block + 6 : block + 20] = b"\xff" * 14
    np.testing.assert_array_equal(decode_image(bytes(data), "a.jpg"), decode_image(jpeg_bytes(), "a.jpg"))


def test_sixteen_bits_a_colour_become_eight():
    picture = smooth_picture()
    _, data = cv2.imencode(".png", picture[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_image(data.tobytes(), "a.png"), picture)


def several_frames():
    """A multi-picture file as some cameras write it, and its first picture alone."""
    first, second = (Image.fromarray(picture) for picture in (smooth_picture(), smooth_picture()[::-1]))
    return encode(first, "MPO", quality=95, save_all=True, append_images=[second]), jpeg_bytes()


def test_of_several_frames_the_first_is_read():
    data, first = several_frames()
    np.testing.assert_array_equal(decode_image(data, "a.mpo"), decode_image(first, "a.jpg"))


def test_of_several_frames_the_first_must_be_whole():
    data, _ = several_frames()
    second = data.index(b"\xff\xd9") + 2
    decode_image(data[: second + 50], "cut.mpo")
    with pytest.raises(UserError, match=r"cut\.mpo is truncated"):
        decode_image(data[: second - 20], "cut.mpo")


def test_what_follows_the_end_of_a_jpeg_does_no_harm():
    data = jpeg_bytes()
    np.testing.assert_array_equal(decode_image(data + b"\0" * 9, "a.jpg"), decode_image(data, "a.jpg"))
    with pytest.raises(UserError, match="truncated"):
        decode_image(data[:-20] + b"\0" * 9, "a.jpg")


def test_the_contents_tell_the_form_not_the_name(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode(Image.fromarray(smooth_picture()), "PNG"))
    np.testing.assert_array_equal(read_image(path), smooth_picture())
    path.write_bytes(encode(Image.fromarray(smooth_picture()), "GIF"))
    with pytest.raises(UserError, match=r"really_a_png\.jpg is not a JPEG or PNG picture"):
        read_image(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_wherever_it_is_cut(progressive, tmp_path):
    data = jpeg_bytes(progressive=progressive)
    for length in range(4, len(data) - 1, 37):
        path = tmp_path / "cut.jpg"
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"cut\.jpg"):
            read_image(path)


def test_the_end_marker_of_a_thumbnail_does_not_hide_a_cut():
    data = jpeg_bytes()
    thumbnail = b"\xff\xe1" + (len(data) + 2).to_bytes(2) + data
    whole = data[:2] + thumbnail + data[2:]
    assert decode_image(whole, "whole.jpg").shape == (24, 40, 3)
    with pytest.raises(UserError, match="truncated"):
        decode_image(whole[:-20], "cut.jpg")
    with pytest.raises(UserError, match="truncated"):
        decode_image(whole[: len(data) + 6], "cut.jpg")  # right behind the thumbnail


def test_a_truncated_png_is_refused():
    data = encode(Image.fromarray(smooth_picture()), "PNG")
    with pytest.raises(UserError, match=r"cut\.png is truncated"):
        decode_image(data[:-30], "cut.png")
    with pytest.raises(UserError, match=r"hole\.png is broken"):
        decode_image(data[: len(data) // 2] + data[-12:], "hole.png")


def test_a_broken_png_is_refused():
    data = bytearray(encode(Image.fromarray(smooth_picture()), "PNG"))
    data[16:24] = struct.pack(">II", 0, 0)
    with pytest.raises(UserError, match=r"zero\.png is broken"):
        decode_image(bytes(data), "zero.png")


def test_a_web_page_named_jpg_is_refused(tmp_path):
    path = tmp_path / "page.jpg"
    path.write_text("<!DOCTYPE html><html>404</html>")
    with pytest.raises(UserError, match=r"page\.jpg is not a JPEG or PNG picture"):
        read_image(path)


def test_empty_missing_and_folder_are_refused_by_name(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"empty\.jpg is not a JPEG or PNG"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "zeros.jpg").write_bytes(bytes(1000))
    with pytest.raises(UserError, match=r"zeros\.jpg is not a JPEG or PNG"):
        read_image(tmp_path / "zeros.jpg")
    with pytest.raises(UserError, match=r"Picture not found: .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="Is a directory"):
        read_image(tmp_path)


def test_a_huge_picture_is_refused_by_its_header_alone():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(UserError, match=r"bomb\.png is 30000 x 30000 pixels"):
        decode_image(data, "bomb.png")


def test_a_huge_jpeg_is_refused_by_its_header_alone():
    data = bytearray(jpeg_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 30000, 20000)
    with pytest.raises(UserError, match=r"bomb\.jpg is 20000 x 30000 pixels"):
        decode_image(bytes(data), "bomb.jpg")


def test_decoding_agrees_with_opencv_reading_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes())
    np.testing.assert_array_equal(read_image(path)[..., ::-1], cv2.imread(str(path)))


def test_the_size_by_the_header_is_that_before_the_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg_bytes(exif=exif)
    assert image_size(data, "a.jpg") == (40, 24)
    assert decode_image(data, "a.jpg").shape == (40, 24, 3)
    with pytest.raises(UserError, match=r"cut\.jpg is truncated"):
        image_size(data[:-20], "cut.jpg")
