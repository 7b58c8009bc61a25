"""Train on folders of pictures of your own: one folder a class, of any sizes, PNG, JPEG and other formats.

    python examples/train_your_pictures.py [FOLDER [OUT]]

FOLDER holds train/CLASS/*.png and test/CLASS/*.png (or .jpg ...). Without it the example draws some faces and puts them
into such folders first. What comes out is in OUT, by default a new folder `my_training`. It shows what a training
usually has: pictures set aside for validation, augmentation, a schedule, averaged weights, an early end, a checkpoint
to go on from, a report and pictures of it all. A minute.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

import minicnn as mc
from minicnn import data, nn
from minicnn.data import transforms as t
from minicnn.figure import save_png
from minicnn.train import CSVLog, EachEpoch, EarlyStopping, PauseOnSignals, Trainer, accuracy, class_report
from minicnn.train.report import confusion_matrix_figure, learning_curves, mistakes_figure

SIZE = (64, 64)


def draw_pictures(folder: Path) -> None:
    """Faces, smiling or not, as picture files in folders."""
    for part, count, seed in (("train", 1000, 0), ("test", 300, 1)):
        pictures, smiling = data.synthetic_faces(count, seed)
        for number, (picture, label) in enumerate(zip(pictures, smiling, strict=True)):
            file = folder / part / ("smiling" if label else "not smiling") / f"{number:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)


def make_model(classes: int) -> nn.Module:
    """A small network; its first layer brings pictures to mean 0 and standard deviation 1, so it takes plain ones."""
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 5, padding="same"), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(4)]

    return nn.Sequential(nn.Normalize(3), *block(3, 16), *block(16, 32), nn.Flatten(), nn.Dropout(0.2),
                         nn.Linear(4 * 4 * 32, classes))


def main(folder: Path, out: Path) -> None:
    mc.manual_seed(0)
    found = data.load_picture_folders(folder, SIZE)
    learning, validation = data.split_off(found.train, 0.15)
    print(f"{len(learning)} pictures to learn from, {len(validation)} to validate with, {len(found.test)} to test "
          f"with; classes: {', '.join(found.classes)}")

    augment = t.Compose(t.ToFloat(), t.RandomHorizontalFlip(), t.RandomAffine(10, translate=(0.08, 0.08)),
                        t.ColorJitter(brightness=0.2, contrast=0.2))
    train_batches = data.DataLoader(learning, 32, shuffle=True, transform=augment)
    validation_batches = data.DataLoader(validation, 50, transform=t.ToFloat())
    test_batches = data.DataLoader(found.test, 50, transform=t.ToFloat())

    model = make_model(len(found.classes))
    statistics = t.Normalize.fit(learning)
    model[0].set_statistics(statistics.mean, statistics.std)
    epochs = 12
    optimizer = mc.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    stopping = EarlyStopping("val_loss", patience=5)
    trainer = Trainer(
        model, loss=nn.functional.cross_entropy, optimizer=optimizer,
        metrics={"accuracy": lambda labels, scores: accuracy(labels, scores.argmax(1))},
        schedule=mc.optim.CosineAnnealingLR(optimizer, epochs * len(train_batches)), schedule_per="step",
        clip_norm=1.0, average=mc.optim.ExponentialMovingAverage(model, 0.98),
        callbacks=[stopping, PauseOnSignals(), CSVLog(out / "history.csv"), EachEpoch(lambda row: print(
            "  ".join(f"{name} {value:.3g}" for name, value in row.items())))],
    )  # fmt: skip
    # Interrupt this and start it again: it goes on where it was.
    history = trainer.fit(train_batches, validation_batches, epochs=epochs, checkpoint=out / "checkpoint.safetensors",
                          resume=True)

    scores, labels = trainer.predict(test_batches)
    report = class_report(labels, scores, found.classes)
    print(f"the weights of epoch {stopping.best_epoch} get {report['accuracy']:.1%} of the test pictures right")
    chances = nn.functional.softmax(mc.tensor(scores), dim=1).numpy()
    save_png(learning_curves(history, "my pictures", best_epoch=stopping.best_epoch), out / "learning_curves.png")
    save_png(confusion_matrix_figure(report["confusion_matrix"], found.classes, "test pictures"), out / "confusion.png")
    mistakes = mistakes_figure(found.test.arrays[0], labels, chances, found.classes, "surest mistakes")
    save_png(mistakes, out / "mistakes.png")
    mc.save(model, out / "model.safetensors")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        target = Path(sys.argv[2] if len(sys.argv) > 2 else "my_training")
        if len(sys.argv) < 2:
            draw_pictures(pictures)
        target.mkdir(parents=True, exist_ok=True)
        main(pictures, target)
        print(f"{target}: {', '.join(sorted(path.name for path in target.iterdir()))}")
