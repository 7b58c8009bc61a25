"""Networks written once for both sides: of `nn`, which is minicnn's or PyTorch's, as the names are the same."""

from typing import Any


def smile_module(nn: Any) -> Any:
    """The smile detector as people write their own: a Module whose `forward` calls layers and functions by hand."""

    class SmileModule(nn.Module):
        torch_flatten = {"fc1": 32}  # fc1 reads flattened pictures of 32 channels

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16)
            self.conv2, self.bn2 = nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32)
            self.pool, self.dropout, self.flatten = nn.MaxPool2d(2), nn.Dropout(0.1), nn.Flatten()
            self.fc1, self.fc2 = nn.Linear(16 * 16 * 32, 128), nn.Linear(128, 1)

        def forward(self, x: Any) -> Any:
            relu = nn.functional.relu
            x = self.dropout(self.pool(self.bn1(relu(self.conv1(x)))))
            x = self.dropout(self.pool(self.bn2(relu(self.conv2(x)))))
            return self.fc2(relu(self.fc1(self.flatten(x))))

    return SmileModule()


def pictures_of(size: int) -> Any:
    """A function that builds a small network for pictures of size x size, a multiple of 16: its work grows as they."""

    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AvgPool2d(size // 16),
            nn.Flatten(), nn.Linear(4 * 4 * 64, 10),
        )  # fmt: skip

    return build
