"""The experiments with counterfactuals: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.counterfactuals import clever_hans, crowd, faces, mnist, mnist_flow, toy


COMMANDS = {
    "toy": (toy.Toy(), toy.run),
    "flow": (mnist_flow.MnistFlow(), mnist_flow.run),
    "mnist": (mnist.Mnist(), mnist.run),
    "crowd": (crowd.Crowd(), crowd.run),
    "faces": (faces.Faces(), faces.run),
    "clever-hans": (clever_hans.CleverHans(), clever_hans.run),
}

WORDS = {
    "toy": "Counterfactuals off a helix: what each optimizer keeps of the theorem.",
    "flow": "A flow of MNIST's images, or of scikit-learn's digits where they are not found.",
    "mnist": "Counterfactuals of digits, and what held-out classifiers make of them.",
    "crowd": "Few and many figures in generated scenes, for a counter and for an independent detector.",
    "faces": "Attributes of CelebA's faces, which you have downloaded into GEODL_DATA.",
    "clever-hans": "A classifier that reads a watermark, found out by its explanations.",
}


if __name__ == "__main__":
    main("experiments.counterfactuals", __doc__, COMMANDS, WORDS)
