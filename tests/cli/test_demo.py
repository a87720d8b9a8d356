"""``vlmcal demo`` on photos of one's own."""


def test_a_demo_on_photos_with_a_stated_backbone(vlmcal, small_images, tiny_folder, tmp_path):
    words = ("--photos", small_images, "--seeds", 1, "--epochs", 1, "-o", tmp_path / "d")
    done = vlmcal("demo", *words, "--backbone", tiny_folder)
    assert done.code == 0, done.err
    page = (tmp_path / "d" / "report.html").read_text()
    assert f"classifies the images of {small_images}" in page.replace("&quot;", '"')
    assert "4 images per class of half of the classes" in page
    assert f"vlmcal train {small_images} --backbone {tiny_folder}" in done.err


def test_without_a_real_model_it_says_that_it_shows_nothing(
    vlmcal, refused, small_images, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ("--photos", small_images, "--seeds", 1, "--epochs", 1, "-o", tmp_path / "d")
    done = vlmcal("demo", *words)
    assert done.code == 0, done.err
    assert "nothing about these photos: openai/clip-vit-base-patch16 is not at hand" in done.err
    assert "nothing about these photos" in (tmp_path / "d" / "report.html").read_text()
    refused("demo", *words, "--backbone", tmp_path / "none", words=["none"])
