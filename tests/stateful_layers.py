"""Every Keras layer class: those with state, with arguments and a shape of input; and those without."""

import keras
import numpy as np

layers = keras.layers


def _adapted_normalization():
    made = layers.Normalization()
    made.adapt(np.random.default_rng(0).normal(size=(50, 4)) * 30 + 500)
    return made


@keras.saving.register_keras_serializable("tests")
class OnItself(layers.Layer):
    """Calls an attention layer on a sequence and itself."""

    def __init__(self, attention, takes_list=False, **options):
        super().__init__(**options)
        self.attention, self.takes_list = attention, takes_list

    def build(self, shape):
        if self.attention.built:  # by Keras, which loads it
            return
        if self.takes_list:
            self.attention.build([shape, shape])
        else:
            self.attention.build(shape, shape)

    def call(self, x):
        return self.attention([x, x]) if self.takes_list else self.attention(x, x)

    def get_config(self):
        attention = keras.saving.serialize_keras_object(self.attention)
        return {**super().get_config(), "attention": attention, "takes_list": self.takes_list}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "attention": keras.saving.deserialize_keras_object(config["attention"])})


@keras.saving.register_keras_serializable("tests")
class OfCell(layers.Layer):
    """Calls a cell on a vector and zeros."""

    def __init__(self, cell, **options):
        super().__init__(**options)
        self.cell = cell

    def build(self, shape):
        if not self.cell.built:
            self.cell.build(shape)

    def call(self, x):
        states = self.cell.get_initial_state(batch_size=keras.ops.shape(x)[0])
        return self.cell(x, states)[0]

    def get_config(self):
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


VECTOR, SEQUENCE, IMAGE, VIDEO, VOLUME, SERIES, COLOURS = (
    (4,),
    (5, 4),
    (6, 6, 2),
    (3, 6, 6, 2),
    (4, 4, 4, 2),
    (3, 6, 2),
    (6, 6, 3),
)

# By class how one is made and the shape that it takes. Made by functions, for a layer is built but once.
STATEFUL = {
    "AdditiveAttention": (lambda: OnItself(layers.AdditiveAttention(), takes_list=True), SEQUENCE),
    "Attention": (lambda: OnItself(layers.Attention(use_scale=True, score_mode="concat"), takes_list=True), SEQUENCE),
    "BatchNormalization": (layers.BatchNormalization, VECTOR),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SEQUENCE),
    "Conv1D": (lambda: layers.Conv1D(3, 2), SEQUENCE),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(3, 2), SEQUENCE),
    "Conv2D": (lambda: layers.Conv2D(3, 2), IMAGE),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), IMAGE),
    "Conv3D": (lambda: layers.Conv3D(3, 2), VOLUME),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(3, 2), VOLUME),
    "ConvLSTM1D": (lambda: layers.ConvLSTM1D(2, 2), SERIES),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(2, 2), VIDEO),
    "ConvLSTM3D": (lambda: layers.ConvLSTM3D(2, 2), (2, 3, 3, 3, 1)),
    "Dense": (lambda: layers.Dense(3), VECTOR),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(2), SEQUENCE),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(2), IMAGE),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cd->abd", (5, 3), bias_axes="d"), SEQUENCE),
    "Embedding": (lambda: layers.Embedding(3, 2), VECTOR),
    "GRU": (lambda: layers.GRU(3), SEQUENCE),
    "GRUCell": (lambda: OfCell(layers.GRUCell(3)), VECTOR),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), VECTOR),
    "GroupedQueryAttention": (lambda: OnItself(layers.GroupQueryAttention(2, 2, 1)), SEQUENCE),
    "LSTM": (lambda: layers.LSTM(3), SEQUENCE),
    "LSTMCell": (lambda: OfCell(layers.LSTMCell(3)), VECTOR),
    "LayerNormalization": (layers.LayerNormalization, VECTOR),
    "MultiHeadAttention": (lambda: OnItself(layers.MultiHeadAttention(2, 2)), SEQUENCE),
    "Normalization": (_adapted_normalization, VECTOR),
    "PReLU": (lambda: layers.PReLU("uniform"), VECTOR),
    "RMSNormalization": (layers.RMSNormalization, VECTOR),
    "RNN": (lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), SEQUENCE),
    "ReversibleEmbedding": (lambda: layers.ReversibleEmbedding(3, 2, tie_weights=False), VECTOR),
    "STFTSpectrogram": (lambda: layers.STFTSpectrogram("log", 8, 4, fft_length=8), (16, 1)),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(3, 2), SEQUENCE),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(3, 2), IMAGE),
    "SimpleRNN": (lambda: layers.SimpleRNN(3), SEQUENCE),
    "SimpleRNNCell": (lambda: OfCell(layers.SimpleRNNCell(3)), VECTOR),
    "SpectralNormalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), VECTOR),
    "StackedRNNCells": (lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.GRUCell(2)])), SEQUENCE),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCE),
}

# Classes that take longest, or are like others: tried by the slow tests alone.
SLOW = {
    *("Conv1D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "ConvLSTM2D", "ConvLSTM3D", "RNN"),
    *("DepthwiseConv1D", "SeparableConv1D", "SimpleRNN", "StackedRNNCells", "GRU", "GroupedQueryAttention", "GRUCell"),
    *("LSTM", "SimpleRNNCell", "ConvLSTM1D"),
}

# Classes whose only state is that of their random numbers, which are drawn in training alone.
RANDOM = {
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5), VECTOR),
    "Dropout": (lambda: layers.Dropout(0.5), VECTOR),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), VECTOR),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), VECTOR),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), SEQUENCE),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.5), IMAGE),
    "SpatialDropout3D": (lambda: layers.SpatialDropout3D(0.5), VOLUME),
    "AugMix": (lambda: layers.AugMix(value_range=(0, 1)), COLOURS),
    "CutMix": (layers.CutMix, COLOURS),
    "MixUp": (layers.MixUp, COLOURS),
    "RandAugment": (lambda: layers.RandAugment(value_range=(0, 1)), COLOURS),
    "RandomBrightness": (lambda: layers.RandomBrightness(0.2, value_range=(0, 1)), COLOURS),
    "RandomColorDegeneration": (lambda: layers.RandomColorDegeneration(0.2, value_range=(0, 1)), COLOURS),
    "RandomColorJitter": (lambda: layers.RandomColorJitter(value_range=(0, 1)), COLOURS),
    "RandomContrast": (lambda: layers.RandomContrast(0.2), COLOURS),
    "RandomCrop": (lambda: layers.RandomCrop(6, 6), COLOURS),
    "RandomElasticTransform": (layers.RandomElasticTransform, COLOURS),
    "RandomErasing": (layers.RandomErasing, COLOURS),
    "RandomFlip": (layers.RandomFlip, COLOURS),
    "RandomGaussianBlur": (layers.RandomGaussianBlur, COLOURS),
    "RandomGrayscale": (layers.RandomGrayscale, COLOURS),
    "RandomHue": (lambda: layers.RandomHue(0.2, value_range=(0, 1)), COLOURS),
    "RandomInvert": (lambda: layers.RandomInvert(0.2, value_range=(0, 1)), COLOURS),
    "RandomPerspective": (layers.RandomPerspective, COLOURS),
    "RandomPosterization": (lambda: layers.RandomPosterization(4, value_range=(0, 1)), COLOURS),
    "RandomRotation": (lambda: layers.RandomRotation(0.2), COLOURS),
    "RandomSaturation": (lambda: layers.RandomSaturation(0.2, value_range=(0, 1)), COLOURS),
    "RandomSharpness": (lambda: layers.RandomSharpness(0.2, value_range=(0, 1)), COLOURS),
    "RandomShear": (lambda: layers.RandomShear((0.0, 0.2), (0.0, 0.2)), COLOURS),
    "RandomTranslation": (lambda: layers.RandomTranslation(0.2, 0.2), COLOURS),
    "RandomZoom": (lambda: layers.RandomZoom(0.2), COLOURS),
    "Solarization": (lambda: layers.Solarization(0.2, 0.2, value_range=(0, 1)), COLOURS),
}

# Classes without state, or that cannot be a layer of a network of numbers: base classes, adapters of other libraries,
# and what takes text or labels.
WITHOUT = [
    "Activation",
    "ActivityRegularization",
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "Add",
    "AutoContrast",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "CategoryEncoding",
    "CenterCrop",
    "Concatenate",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Discretization",
    "Dot",
    "ELU",
    "Equalization",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "Identity",
    "InputLayer",
    "Lambda",
    "LeakyReLU",
    "Masking",
    "MaxNumBoundingBoxes",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "MelSpectrogram",
    "Minimum",
    "Multiply",
    "Permute",
    "Pipeline",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "Softmax",
    "Subtract",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]
APART = [
    "FlaxLayer",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "JaxLayer",
    "Layer",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
    "Wrapper",
]
